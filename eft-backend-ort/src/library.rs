//! The library of ONNX Runtime and its environment, of which a process has one each.
use std::sync::{Mutex, PoisonError};

use ort::environment::{Environment, EnvironmentBuilder, GlobalThreadPoolOptions};

use crate::{Error, Options, Result};

/// The environment that the first [`Options`] created, and the number of threads they requested.
static SHARED: Mutex<Option<(Environment, Option<usize>)>> = Mutex::new(None);

/// The environment that the options name, or else the one that the process shares.
///
/// All sessions use the environment's thread pool. Separate pools would spin while another model's pass runs, and take
/// the processor from it.
pub(crate) fn environment(options: &Options) -> Result<Environment> {
    if let Some(environment) = &options.environment {
        return Ok(environment.clone());
    }
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((environment, threads)) = &*shared {
        return match options.threads {
            Some(requested) if Some(requested) != *threads => {
                Err(Error::Threads { requested, existing: *threads })
            }
            _ => Ok(environment.clone()),
        };
    }
    let builder = load(options)?;
    let pool = GlobalThreadPoolOptions::default().with_intra_threads(options.threads.unwrap_or(0))?;
    let environment = builder.with_name("eft").with_telemetry(false).with_global_thread_pool(pool).build()?;
    *shared = Some((environment.clone(), options.threads));
    Ok(environment)
}

/// Loads the library. No other function of `ort` may be called before this one succeeds, since it would search for the
/// library itself, and panic if it does not find one.
#[cfg(feature = "load-dynamic")]
fn load(options: &Options) -> Result<EnvironmentBuilder> {
    use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
    use std::path::PathBuf;

    let variable = || std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    let named = options.library.clone().or_else(variable);
    let path = named.unwrap_or_else(|| format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}").into());
    // A name that is not an existing file is left to the system's search.
    let path = path.canonicalize().unwrap_or(path);
    ort::init_from(&path).map_err(|e| Error::Library { path, source: e.into() })
}

#[cfg(not(feature = "load-dynamic"))]
fn load(options: &Options) -> Result<EnvironmentBuilder> {
    match &options.library {
        Some(path) => Err(Error::LibraryLinked { path: path.clone() }),
        None => Ok(ort::init()),
    }
}
