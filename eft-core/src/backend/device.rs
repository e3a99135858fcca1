//! [`DeviceName`]: the name of a device, as users write it in flags and variables.
use std::fmt;
use std::str::FromStr;

use crate::{Error, Result};

/// The name of a device: `cpu`, `cuda`, `cuda:1` or `metal`. The number counts the devices of that kind from 0, which is
/// also the default.
///
/// Each backend that has devices makes itself from a name, and refuses those of devices that it lacks.
///
/// ```
/// use eft_core::backend::DeviceName;
///
/// assert_eq!("cuda:1".parse::<DeviceName>()?, DeviceName::Cuda(1));
/// assert_eq!("metal".parse::<DeviceName>()?.to_string(), "metal:0");
/// assert!("gpu".parse::<DeviceName>().is_err() && "cuda:-1".parse::<DeviceName>().is_err());
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum DeviceName {
    /// The processor.
    #[default]
    Cpu,
    /// An NVIDIA GPU.
    Cuda(u8),
    /// An Apple GPU.
    Metal(u8),
}

impl FromStr for DeviceName {
    type Err = Error;

    /// # Errors
    /// [`Error::InvalidParameter`] if the text is not such a name.
    fn from_str(name: &str) -> Result<Self> {
        let wrong = || Error::parameter("the device", format!("`{name}`"), "cpu, cuda, cuda:N or metal");
        let (kind, index) = name.split_once(':').unwrap_or((name, "0"));
        match (kind, index.parse().map_err(|_| wrong())?) {
            ("cpu", 0) => Ok(Self::Cpu),
            ("cuda", index) => Ok(Self::Cuda(index)),
            ("metal", index) => Ok(Self::Metal(index)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for DeviceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.write_str("cpu"),
            Self::Cuda(index) => write!(f, "cuda:{index}"),
            Self::Metal(index) => write!(f, "metal:{index}"),
        }
    }
}
