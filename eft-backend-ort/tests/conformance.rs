//! The backend passes the kit, and generates what the host does.
use eft_backend_ort::Ort;
use eft_core::conformance::{TrafficCounter, check_backend, check_texts};

fn checked(result: eft_core::conformance::Result) {
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn operations() {
    checked(check_backend(&Ort::cpu().unwrap()));
}

#[test]
fn texts() {
    checked(check_texts(&Ort::cpu().unwrap()));
}

#[test]
fn metered() {
    checked(check_backend(&TrafficCounter::new(Ort::cpu().unwrap())));
}
