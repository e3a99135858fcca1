//! The device of the tests: the one that `EFT_DEVICE` names.
use eft_backend_candle::Candle;
use eft_core::conformance::test_device;

/// The backend under test.
pub(crate) fn candle() -> Candle {
    test_device().and_then(Candle::try_from).unwrap_or_else(|error| panic!("{error}"))
}
