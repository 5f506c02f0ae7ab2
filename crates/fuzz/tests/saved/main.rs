//! Fuzzes [`fuzz::saved`]: any text in a browser's session storage.

fn main() {
    bolero::check!().with_iterations(fuzz::ITERATIONS).with_max_len(fuzz::MAX_LEN).for_each(fuzz::saved::check);
}
