//! The kit's own laws, on the host backend and on toy sources.
use eft_core::Host;
use eft_core::conformance::{Meter, check_backend};

#[test]
fn host_backend() {
    check_backend(&Host).unwrap_or_else(|e| panic!("{e}"));
}

#[test]
fn metered_backend() {
    check_backend(&Meter::new(Host)).unwrap_or_else(|e| panic!("{e}"));
}
