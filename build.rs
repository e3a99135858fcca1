//! Sets `cfg(unoptimised)` if this crate is compiled with `opt-level = 0`, so that loading a model can warn about it.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-check-cfg=cfg(unoptimised)");
    // The level of this package, which is that of its profile and of the overrides for packages.
    if std::env::var("OPT_LEVEL").is_ok_and(|level| level == "0") {
        println!("cargo::rustc-cfg=unoptimised");
    }
}
