//! Fuzzes [`fuzz::frames`]: any run of frames from a leader.

fn main() {
    bolero::check!().with_iterations(fuzz::ITERATIONS).with_max_len(fuzz::MAX_LEN).for_each(fuzz::frames::check);
}
