//! The backend passes the conformance kit, and generates the same texts as the host backend.
mod device;

use eft_core::conformance::{TrafficCounter, check_backend, check_backend_at, check_texts};

fn passes<E: std::fmt::Display>(result: Result<(), E>) {
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn operations() {
    passes(check_backend(&device::torch()));
}

#[test]
fn texts() {
    passes(check_texts(&device::torch()));
}

#[test]
fn operations_under_a_traffic_counter() {
    passes(check_backend_at(&TrafficCounter::new(device::torch()), &[1, 7, 1000]));
}
