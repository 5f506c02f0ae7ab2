//! Fuzzes [`fuzz::pages`]: any page of history from a leader.

fn main() {
    bolero::check!().with_iterations(fuzz::ITERATIONS).with_max_len(fuzz::MAX_LEN).for_each(fuzz::pages::check);
}
