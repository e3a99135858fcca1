//! [`Server`]: a server that runs in threads of its own.
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use tokio::net::TcpListener;
use tokio::runtime::Runtime;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::api::{App, router};
use crate::config::Config;
use crate::models::Models;

/// A server that runs in threads of its own, and stops when it is dropped.
pub struct Server {
    app: Arc<App>,
    address: SocketAddr,
    drain: Duration,
    runtime: Option<Runtime>,
    task: Option<JoinHandle<std::io::Result<()>>>,
    stop: watch::Sender<bool>,
}

impl Server {
    /// Loads the models of a configuration, and begins to answer.
    ///
    /// # Errors
    /// If a model cannot be loaded, the environment variable of the key is not set, or the address cannot be used.
    pub fn start(config: &Config) -> Result<Self> {
        Self::with_models(Models::load(config)?, config)
    }

    /// Begins to answer with models that are loaded already.
    ///
    /// # Errors
    /// If the environment variable of the key is not set, or the address cannot be used.
    pub fn with_models(models: Models, config: &Config) -> Result<Self> {
        let server = &config.server;
        let key = match &server.api_key_env {
            None => None,
            Some(name) => match std::env::var(name) {
                Ok(key) if !key.is_empty() => Some(key),
                _ => bail!("`server.api_key_env`: the environment variable `{name}` is not set or empty"),
            },
        };
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("http")
            .enable_all()
            .build()
            .context("cannot start the threads for HTTP")?;
        let address = (server.host.as_str(), server.port);
        let listener = runtime
            .block_on(TcpListener::bind(address))
            .with_context(|| format!("cannot listen on {}:{}", server.host, server.port))?;
        let address = listener.local_addr().context("the socket has no address")?;
        let app = App::new(models, config, key).context("cannot start the decoding thread")?;
        let (app, (stop, mut stopped)) = (Arc::new(app), watch::channel(false));
        let routes = router(app.clone());
        let stopping = async move {
            // An error means that the server has been dropped.
            let _ = stopped.wait_for(|stop| *stop).await;
        };
        let serve = axum::serve(listener, routes).with_graceful_shutdown(stopping);
        let task = runtime.spawn(async move { serve.await });
        let drain = Duration::from_secs_f64(server.drain_seconds);
        Ok(Self { app, address, drain, runtime: Some(runtime), task: Some(task), stop })
    }

    /// Returns the address at which the server listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Waits for a signal to stop (Ctrl-C or SIGTERM), and then stops. A second signal ends at once what still
    /// runs.
    pub fn wait(self) {
        if let Some(runtime) = &self.runtime {
            let app = self.app.clone();
            runtime.block_on(async {
                let mut signals = Signals::listen();
                signals.next().await;
                tokio::spawn(async move {
                    signals.next().await;
                    app.scheduler.hurry();
                });
            });
        }
        tracing::info!("stopping");
        self.stop();
    }

    /// Accepts no more requests, lets those that run go on for a while, and ends what is left with what there is.
    pub fn stop(mut self) {
        self.end(self.drain);
    }

    fn end(&mut self, drain: Duration) {
        let (Some(runtime), Some(task)) = (self.runtime.take(), self.task.take()) else { return };
        // No connection is accepted any more, but requests on open ones still get an answer.
        let _ = self.stop.send(true);
        self.app.scheduler.stop(drain);
        // Everything has been computed; what is left is to be read by the clients.
        let _ = runtime.block_on(async { tokio::time::timeout(Duration::from_secs(2), task).await });
        runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.end(Duration::ZERO);
    }
}

/// The signals that tell the process to stop: Ctrl-C and SIGTERM.
struct Signals {
    #[cfg(unix)]
    streams: Option<[tokio::signal::unix::Signal; 2]>,
}

impl Signals {
    /// Listens from now on. Signals that come before they are waited for are not lost.
    #[cfg(unix)]
    fn listen() -> Self {
        use tokio::signal::unix::{SignalKind, signal};

        let streams =
            signal(SignalKind::interrupt()).and_then(|first| Ok([first, signal(SignalKind::terminate())?]));
        Self { streams: streams.ok() }
    }

    #[cfg(not(unix))]
    fn listen() -> Self {
        Self {}
    }

    async fn next(&mut self) {
        #[cfg(unix)]
        if let Some([interrupt, terminate]) = &mut self.streams {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            return;
        }
        // An error leaves nothing to wait for.
        drop(tokio::signal::ctrl_c().await);
    }
}
