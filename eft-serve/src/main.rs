//! The program: reads flags or a file, and serves.
#![forbid(unsafe_code)]

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Result, bail};
use clap::{Parser, ValueEnum};
use eft_serve::Server;
use eft_serve::config::{CombinationConfig, Config, ModelBackend, ModelConfig};
use tracing_subscriber::EnvFilter;

/// A library that runs models.
#[derive(Clone, Copy, ValueEnum)]
enum Library {
    Candle,
    #[cfg(feature = "tch")]
    Tch,
}

/// Serves combinations of models to every program that speaks OpenAI's protocol.
///
/// Without a file and without models, it serves the tiny models that come with the repository.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The file with models, combinations, defaults and limits
    #[arg(long, value_name = "FILE", conflicts_with_all = ["large", "small", "tuned", "formula", "alpha", "backend"])]
    config: Option<PathBuf>,
    /// The large model, untuned: a folder, a GGUF file, an id on the Hugging Face hub, or with the feature `remote` the url
    /// of a server that runs it
    #[arg(long, value_name = "MODEL", requires = "small", requires = "tuned")]
    large: Option<String>,
    /// The small model, untuned
    #[arg(long, value_name = "MODEL", requires = "large")]
    small: Option<String>,
    /// The small model, tuned, as a model of its own or a LoRA adapter of the untuned one
    #[arg(long, value_name = "MODEL", requires = "large")]
    tuned: Option<String>,
    /// The combination that is served as `eft`: a formula of `large`, `small`, `tuned` and the number `alpha`
    #[arg(long, default_value = "large + alpha*(tuned - small)")]
    formula: String,
    /// The number `alpha` of the formula, for requests that do not say; 1 if it is not given
    #[arg(long, allow_negative_numbers = true)]
    alpha: Option<f64>,
    /// The library that runs the models of these flags; `tch` needs the feature of that name
    #[arg(long, value_name = "LIBRARY")]
    backend: Option<Library>,
    /// The address; others than this machine can reach the server only if it is changed
    #[arg(long)]
    host: Option<String>,
    /// The port; 0 for any that is free
    #[arg(long)]
    port: Option<u16>,
    /// The environment variable with the key that requests must bring
    #[arg(long, value_name = "NAME")]
    api_key_env: Option<String>,
    /// Log prompts and texts, too
    #[arg(long)]
    log_prompts: bool,
}

impl Args {
    fn config(&self) -> Result<Config> {
        let mut config = match &self.config {
            Some(file) => Config::read(file)?,
            None => self.models()?,
        };
        if let Some(host) = &self.host {
            config.server.host.clone_from(host);
        }
        config.server.port = self.port.unwrap_or(config.server.port);
        if let Some(name) = &self.api_key_env {
            config.server.api_key_env = Some(name.clone());
        }
        config.server.log_prompts |= self.log_prompts;
        Ok(config)
    }

    /// The models that the flags name, by default those of the zoo.
    fn models(&self) -> Result<Config> {
        let zoo = |name: &str| format!("{}/../zoo/{name}", env!("CARGO_MANIFEST_DIR"));
        let named = |flag: &Option<String>, in_zoo: &str| flag.clone().unwrap_or_else(|| zoo(in_zoo));
        let mut small = ModelConfig::new(named(&self.small, "base-small"));
        let mut large = ModelConfig::new(named(&self.large, "base-large"));
        if large.is_remote() {
            // A model on a server has the tokenizer of the small one.
            large.tokenizer = Some(small.path.clone());
        }
        let mut tuned = ModelConfig::new(named(&self.tuned, "tuned-small"));
        if Path::new(&tuned.path).join("adapter_config.json").exists() {
            tuned = tuned.of_base("small");
        }
        let mut config = Config::empty();
        for model in [&mut small, &mut large, &mut tuned] {
            if !model.is_remote() && model.base.is_none() {
                model.backend = self.backend.map(|library| match library {
                    Library::Candle => ModelBackend::Candle,
                    #[cfg(feature = "tch")]
                    Library::Tch => ModelBackend::Tch,
                });
            }
        }
        config.models =
            [("large", large), ("small", small), ("tuned", tuned)].map(|(n, m)| (n.to_owned(), m)).into();
        let mut combination =
            CombinationConfig::new(&self.formula).number("alpha", self.alpha.unwrap_or(1.0));
        if !combination.names_number(config.models.keys(), "alpha") {
            if self.alpha.is_some() {
                bail!("`--alpha`: the formula has no number `alpha`");
            }
            combination.numbers.clear();
        }
        config.combinations.insert("eft".into(), combination);
        Ok(config)
    }
}

fn main() -> ExitCode {
    let args = Args::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).with_ansi(false).init();
    match serve(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn serve(args: &Args) -> Result<()> {
    let config = args.config()?;
    let host = config.server.host.as_str();
    let local = host == "localhost" || host.parse::<IpAddr>().is_ok_and(|address| address.is_loopback());
    if !local && config.server.api_key_env.is_none() {
        bail!("`{host}` can be reached from other machines: set `--api-key-env`, or listen on 127.0.0.1");
    }
    let server = Server::start(&config)?;
    println!("listening on http://{}", server.address());
    server.wait();
    Ok(())
}
