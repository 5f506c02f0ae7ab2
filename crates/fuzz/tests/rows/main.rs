//! Fuzzes [`fuzz::rows`]: any stored batch.

fn main() {
    bolero::check!().with_iterations(fuzz::ITERATIONS).with_max_len(fuzz::MAX_LEN).for_each(fuzz::rows::check);
}
