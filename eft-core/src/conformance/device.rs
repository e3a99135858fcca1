//! [`test_device`]: the device that tests run on.
use crate::backend::DeviceName;
use crate::{Error, Result};

/// The device that tests of a backend should run on: the one that the environment variable `EFT_DEVICE` names, or the
/// processor if it is not set. So the same tests check a backend on every device.
///
/// ```
/// use eft_core::conformance::test_device;
///
/// println!("testing on {}", test_device()?);
/// # Ok::<(), eft_core::Error>(())
/// ```
///
/// # Errors
/// [`Error::InvalidParameter`] if the variable names no device.
pub fn test_device() -> Result<DeviceName> {
    match std::env::var("EFT_DEVICE") {
        Ok(name) => name.parse(),
        Err(std::env::VarError::NotPresent) => Ok(DeviceName::Cpu),
        Err(error) => Err(Error::parameter("EFT_DEVICE", error, "the name of a device")),
    }
}
