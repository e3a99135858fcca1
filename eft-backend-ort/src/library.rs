//! The library of ONNX Runtime, and its environment: once in a process.
use std::sync::{Mutex, PoisonError};

use ort::environment::{Environment, EnvironmentBuilder, GlobalThreadPoolOptions};

use crate::{Error, Options, Result};

/// What the first [`Options`] made, and the threads it asked for.
static SHARED: Mutex<Option<(Environment, Option<usize>)>> = Mutex::new(None);

/// The environment that the options name, or the process's own.
///
/// All sessions share its threads: pools of their own would keep each other from the processor, spinning while
/// another model's pass runs.
pub(crate) fn environment(options: &Options) -> Result<Environment> {
    if let Some(environment) = &options.environment {
        return Ok(environment.clone());
    }
    let mut shared = SHARED.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((environment, threads)) = &*shared {
        return match options.threads {
            Some(asked) if Some(asked) != *threads => Err(Error::Threads { asked, there: *threads }),
            _ => Ok(environment.clone()),
        };
    }
    let builder = load(options)?;
    let pool = GlobalThreadPoolOptions::default().with_intra_threads(options.threads.unwrap_or(0))?;
    let environment = builder.with_name("eft").with_telemetry(false).with_global_thread_pool(pool).build()?;
    *shared = Some((environment.clone(), options.threads));
    Ok(environment)
}

/// Nothing of `ort` may be called before this succeeded: it would look for the library itself, and panic.
#[cfg(feature = "load-dynamic")]
fn load(options: &Options) -> Result<EnvironmentBuilder> {
    use std::env::consts::{DLL_PREFIX, DLL_SUFFIX};
    use std::path::PathBuf;

    let variable = || std::env::var_os("ORT_DYLIB_PATH").filter(|path| !path.is_empty()).map(PathBuf::from);
    let named = options.library.clone().or_else(variable);
    let path = named.unwrap_or_else(|| format!("{DLL_PREFIX}onnxruntime{DLL_SUFFIX}").into());
    // What is there is meant; other names are for the system to find.
    let path = path.canonicalize().unwrap_or(path);
    ort::init_from(&path).map_err(|e| Error::Library { path, reason: e.to_string() })
}

#[cfg(not(feature = "load-dynamic"))]
fn load(options: &Options) -> Result<EnvironmentBuilder> {
    match &options.library {
        Some(path) => {
            let reason = "ONNX Runtime is linked: the feature `load-dynamic` is off";
            Err(Error::Library { path: path.clone(), reason: reason.into() })
        }
        None => Ok(ort::init()),
    }
}
