//! The backend passes the conformance kit, and generates the same texts as the host backend.
use eft_backend_ort::Ort;
use eft_core::conformance::{TrafficCounter, check_backend, check_backend_at, check_texts};

fn passes<E: std::fmt::Display>(result: Result<(), E>) {
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn operations() {
    passes(check_backend(&Ort::cpu().unwrap()));
}

#[test]
fn texts() {
    passes(check_texts(&Ort::cpu().unwrap()));
}

#[test]
fn operations_under_a_traffic_counter() {
    passes(check_backend_at(&TrafficCounter::new(Ort::cpu().unwrap()), &[1, 7, 1000]));
}
