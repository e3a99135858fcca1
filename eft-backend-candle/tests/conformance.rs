//! Both ways of the backend pass the kit, and generate what the host does.
use eft_backend_candle::Candle;
use eft_core::conformance::{TrafficCounter, check_backend, check_texts};

fn checked(result: eft_core::conformance::Result) {
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn the_way_of_the_host() {
    checked(check_backend(&Candle::cpu()));
    checked(check_texts(&Candle::cpu()));
}

#[test]
fn the_way_of_a_gpu() {
    checked(check_backend(&Candle::cpu().generic(true)));
    checked(check_texts(&Candle::cpu().generic(true)));
}

#[test]
fn metered() {
    checked(check_backend(&TrafficCounter::new(Candle::cpu())));
}
