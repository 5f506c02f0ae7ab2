//! Mounts the page. Compiled for anything but a browser, it does nothing.

fn main() {
    #[cfg(target_arch = "wasm32")]
    web::mount();
}
