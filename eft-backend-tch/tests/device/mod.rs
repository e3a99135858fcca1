//! The device of the tests: the one that `EFT_DEVICE` names.
use eft_backend_tch::Torch;
use eft_core::conformance::test_device;

/// The backend under test.
pub(crate) fn torch() -> Torch {
    test_device().and_then(Torch::try_from).unwrap_or_else(|error| panic!("{error}"))
}
