//! Both implementations of the backend pass the conformance kit, and generate the same texts as the host.
use eft_backend_candle::Candle;
use eft_core::conformance::{TrafficCounter, WIDTHS, check_backend, check_backend_at, check_texts};

use crate::device::candle;

fn assert_passed(result: eft_core::conformance::Result) {
    result.unwrap_or_else(|failure| panic!("{failure}"));
}

#[test]
fn host_kernels() {
    assert_passed(check_backend(&candle()));
    assert_passed(check_texts(&candle()));
}

#[test]
fn tensor_operations_as_on_a_gpu() {
    assert_passed(check_backend_at(&Candle::cpu().generic(true), &WIDTHS[..WIDTHS.len() - 1]));
    assert_passed(check_texts(&Candle::cpu().generic(true)));
}

// The longest test of all: apart, so that others run beside it.
#[test]
fn tensor_operations_as_on_a_gpu_on_the_widest_rows() {
    assert_passed(check_backend_at(&Candle::cpu().generic(true), &WIDTHS[WIDTHS.len() - 1..]));
}

#[test]
fn counting_traffic() {
    assert_passed(check_backend_at(&TrafficCounter::new(candle()), &[1, 7, 1000]));
}
