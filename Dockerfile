# Images of the leader, which contains the page, and of the replica. docs/running.md says how to run them.
#
#   docker build -t calculator-leader .
#   docker build -t calculator-replica --target replica .

# docker/base-images makes a stand-in for this one where no registry can be reached.
ARG RUST_IMAGE=rust:1.95-bookworm
# Any image will do, because the programs are linked statically. One with a shell helps to look around.
ARG RUNTIME_IMAGE=scratch

FROM ${RUST_IMAGE} AS rust
# Compiles dependencies from the manifests alone, so that a change of a source file does not compile them again.
RUN cargo install --locked --root /usr/local cargo-chef@0.1.78 && rm -rf "$CARGO_HOME/registry"
RUN rustup target add wasm32-unknown-unknown
WORKDIR /src

FROM rust AS plan
COPY . .
RUN cargo chef prepare --recipe-path /recipe.json
# What the page is made of, so that a change of another crate does not compile it again.
RUN mkdir /page && cp --recursive --parents Cargo.toml Cargo.lock .cargo proto static web \
        crates/xtask crates/program crates/engine crates/wire crates/follower /page

FROM rust AS page
COPY --from=plan /recipe.json /
RUN cargo chef cook --locked --recipe-path /recipe.json --package xtask
RUN cargo chef cook --locked --recipe-path /recipe.json --package web --profile wasm-release --target wasm32-unknown-unknown
COPY --from=plan /page .
RUN cargo xtask web

FROM rust AS build
# With a target that is named, the flags are for the programs only. Procedural macros cannot be linked statically.
ENV RUSTFLAGS="-C target-feature=+crt-static"
COPY --from=plan /recipe.json /
RUN cargo chef cook --locked --recipe-path /recipe.json --package leader --package replica --release \
        --target "$(rustc --print host-tuple)"
COPY . .
COPY --from=page /src/web/dist web/dist
RUN cargo build --locked --package leader --package replica --release --target "$(rustc --print host-tuple)"
# Debuggers, and the programs themselves when they panic, look for the debug information under the name in the link.
RUN set -eu; \
    mkdir -p /out/bin /out/debug /out/data /out/certs; \
    cp --dereference /etc/ssl/certs/ca-certificates.crt /out/certs/; \
    for program in calculator-leader calculator-replica; do \
        compiled="target/$(rustc --print host-tuple)/release/$program"; \
        objcopy --only-keep-debug --compress-debug-sections "$compiled" "/out/debug/$program.debug"; \
        objcopy --strip-all --add-gnu-debuglink="/out/debug/$program.debug" "$compiled" "/out/bin/$program"; \
    done

FROM scratch AS debug
COPY --from=build /out/debug /

# `cargo xtask test-containers` puts binaries that exist already in the place of all that is above this line.

# Users are numbers, because an empty image has no names for them. 65534 is `nobody`.
FROM ${RUNTIME_IMAGE} AS replica
# The authorities that a replica trusts, for a leader with TLS.
COPY --from=build /out/certs /etc/ssl/certs
COPY --from=build /out/bin/calculator-replica /usr/local/bin/
USER 65534:65534
ENTRYPOINT ["/usr/local/bin/calculator-replica"]

FROM ${RUNTIME_IMAGE} AS leader
# For a collector of traces with TLS.
COPY --from=build /out/certs /etc/ssl/certs
COPY --from=build /out/bin/calculator-leader /usr/local/bin/
COPY --from=build --chown=65534:65534 /out/data /var/lib/calculator
USER 65534:65534
ENV CALCULATOR_LISTEN=0.0.0.0:8080 CALCULATOR_DATA_DIR=/var/lib/calculator
VOLUME /var/lib/calculator
EXPOSE 8080
HEALTHCHECK --interval=3s --timeout=6s --start-period=60s CMD ["/usr/local/bin/calculator-leader", "health"]
ENTRYPOINT ["/usr/local/bin/calculator-leader"]
