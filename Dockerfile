# The leader, which contains the page, and the replica.
#
#   docker build -t distributed-calculator .
#   docker run --rm -p 8080:8080 -v calculator-data:/var/lib/calculator distributed-calculator

FROM rust:1-bookworm AS build
RUN rustup target add wasm32-unknown-unknown
WORKDIR /src
COPY . .
RUN cargo xtask web
RUN cargo build --release --locked -p leader -p replica

FROM debian:bookworm-slim
COPY --from=build /src/target/release/calculator-leader /src/target/release/calculator-replica /usr/local/bin/
RUN install -d -o nobody -g nogroup /var/lib/calculator
USER nobody
ENV CALCULATOR_DATA_DIR=/var/lib/calculator
VOLUME /var/lib/calculator
EXPOSE 8080
CMD ["calculator-leader", "--listen", "0.0.0.0:8080"]
