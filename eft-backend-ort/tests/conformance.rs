//! The backend passes the conformance kit, and generates the same texts as the host backend.
use eft_backend_ort::{Options, Ort};
use eft_core::conformance::{TrafficCounter, check_backend, check_backend_at, check_texts, test_device};

/// The backend under test, on the device that `EFT_DEVICE` names.
fn ort() -> Ort {
    Ort::new(&Options::default().on(test_device().unwrap()).unwrap()).unwrap()
}

fn passes<E: std::fmt::Display>(result: Result<(), E>) {
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn operations() {
    passes(check_backend(&ort()));
}

#[test]
fn texts() {
    passes(check_texts(&ort()));
}

#[test]
fn operations_under_a_traffic_counter() {
    passes(check_backend_at(&TrafficCounter::new(ort()), &[1, 7, 1000]));
}
