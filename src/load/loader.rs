//! [`Loader`]: loads a model by name, with options.
use std::path::PathBuf;
use std::sync::Arc;

#[cfg(feature = "remote")]
use eft_backend_remote::Remote;
use eft_core::Vocab;

use super::warning::{OnWarning, Warning};
use crate::text::chat::ChatTemplate;
use crate::text::plain::PlainTemplate;

/// Loads a model by name, with options. [`load`](Self::load) runs it on the processor by candle,
/// [`load_on`](Self::load_on) by any tensor library, and with the feature `ort` `load_onnx` by ONNX Runtime.
///
/// ```
/// use eft::Loader;
/// use eft::text::PlainTemplate;
///
/// let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/zoo/base-small");
/// let base = Loader::new(folder).named("base").plain(PlainTemplate::default()).load()?;
/// assert_eq!(base.name(), "base");
/// # Ok::<(), eft::Error>(())
/// ```
#[derive(Debug, Clone)]
#[must_use = "a loader loads nothing until `load`, `load_on` or `load_onnx` is called"]
pub struct Loader {
    pub(super) name: String,
    /// The model's name; if `None`, it is made from the folder, file or id.
    pub(super) given_name: Option<String>,
    /// The names of adapters, each with the files that are added up to it, and their weights.
    pub(super) adapters: Vec<(String, Vec<(PathBuf, f32)>)>,
    pub(super) tokenizer: Option<PathBuf>,
    /// The folder or id whose tokenizer a model on a server has.
    #[cfg(feature = "remote")]
    pub(super) tokenizer_of: Option<String>,
    #[cfg(feature = "remote")]
    pub(super) remote: RemoteSettings,
    pub(super) template: Template,
    /// Variables of the model's own template: names, and values as JSON.
    pub(super) variables: Vec<(String, String)>,
    pub(super) literal_messages: bool,
    pub(super) ends_at_turns: bool,
    pub(super) vocab: Option<Vocab>,
    pub(super) on_warning: OnWarning,
    #[cfg(feature = "hub")]
    pub(super) hub: HubOptions,
}

/// The template that conversations are rendered with.
#[derive(Debug, Clone)]
pub(super) enum Template {
    /// The model's own; if it has several, the one of this name.
    Own(Option<String>),
    Chat(Arc<ChatTemplate>),
    Plain(PlainTemplate),
}

/// Options for models on the hub.
#[cfg(feature = "hub")]
#[derive(Debug, Clone, Default)]
pub(super) struct HubOptions {
    pub(super) revision: Option<String>,
    pub(super) offline: bool,
    pub(super) quiet: bool,
    pub(super) cache: Option<PathBuf>,
    pub(super) endpoint: Option<String>,
}

impl Loader {
    /// Creates a loader of the model of this name: a folder, a GGUF or ONNX file, or an id on the hub. See the
    /// [module](super).
    pub fn new(name: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            given_name: None,
            adapters: Vec::new(),
            tokenizer: None,
            #[cfg(feature = "remote")]
            tokenizer_of: None,
            #[cfg(feature = "remote")]
            remote: RemoteSettings::default(),
            template: Template::Own(None),
            variables: Vec::new(),
            literal_messages: false,
            ends_at_turns: false,
            vocab: None,
            on_warning: OnWarning::default(),
            #[cfg(feature = "hub")]
            hub: HubOptions::default(),
        }
    }

    /// Sets the model's name in formulas and messages. By default it is that of its folder or file, or its id.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.given_name = Some(name.into());
        self
    }

    /// Adds a LoRA adapter under a name by which [`Source::adapter`](crate::Source::adapter) finds it: a folder of PEFT's,
    /// or a GGUF file of llama.cpp's.
    pub fn adapter(self, name: impl Into<String>, path: impl Into<PathBuf>) -> Self {
        self.adapters(name, [(path, 1.0)])
    }

    /// Adds several LoRA adapters as one, under one name: the sum of their changes of the model, each multiplied by its
    /// weight. PEFT computes the same with several active adapters, and with `add_weighted_adapter` and the combination type
    /// `cat`. A negative weight takes a change away. Adapters that cannot be added are refused when the model is loaded, with
    /// an error that names them and the layer: see [`Adapter::sum`](eft_models::Adapter::sum).
    ///
    /// This adds weights, within one model; `0.7 * (base.adapter("pirate")? - &base)` adds logits.
    ///
    /// ```no_run
    /// use eft::Loader;
    ///
    /// let both = [("adapters/pirate", 0.7), ("adapters/poet", 0.3)];
    /// let base = Loader::new("base").adapters("both", both).load()?;
    /// let both = base.adapter("both")?; // or `adapter("both", base)` in a formula
    /// # Ok::<(), eft::Error>(())
    /// ```
    pub fn adapters<P: Into<PathBuf>>(
        mut self,
        name: impl Into<String>,
        weighted: impl IntoIterator<Item = (P, f32)>,
    ) -> Self {
        let weighted = weighted.into_iter().map(|(path, weight)| (path.into(), weight)).collect();
        self.adapters.push((name.into(), weighted));
        self
    }

    /// Uses the tokenizer of this `tokenizer.json` instead of the model's own.
    pub fn tokenizer(mut self, file: impl Into<PathBuf>) -> Self {
        self.tokenizer = Some(file.into());
        self
    }

    /// Uses this chat template instead of the model's own.
    pub fn chat(mut self, template: ChatTemplate) -> Self {
        self.template = Template::Chat(Arc::new(template));
        self
    }

    /// Uses the model's own chat template of this name, for a model that has several.
    pub fn chat_named(mut self, name: impl Into<String>) -> Self {
        self.template = Template::Own(Some(name.into()));
        self
    }

    /// Sets a variable of the model's own chat template, such as `tools`, `documents` or `enable_thinking`, to the value
    /// of a JSON text: see [`ChatTemplate::json`]. If `tools` are set and the model has a template called `tool_use`,
    /// that one is used, as in transformers.
    pub fn template_variable(mut self, name: impl Into<String>, json: impl Into<String>) -> Self {
        self.variables.push((name.into(), json.into()));
        self
    }

    /// Uses a plain template instead of the model's own, for a base model.
    pub fn plain(mut self, template: PlainTemplate) -> Self {
        self.template = Template::Plain(template);
        self
    }

    /// Keeps special tokens that are spelled out in messages as text, such as a user's `<|end|>`. By default they
    /// become the special token, as in transformers. See
    /// [`TextRenderer::literal_messages`](crate::text::TextRenderer::literal_messages).
    pub fn literal_messages(mut self) -> Self {
        self.literal_messages = true;
        self
    }

    /// Also ends texts at the token with which the model's own chat template ends the assistant's turn, if no file of the
    /// model says so. Without this, such a token is named in a [`Warning::EndOfTurn`].
    pub fn end_at_turns(mut self) -> Self {
        self.ends_at_turns = true;
        self
    }

    /// Uses this vocabulary instead of the tokenizer's. Models that are given the same vocabulary can be combined. The
    /// caller is then responsible for their ids having the same meaning.
    pub fn vocab(mut self, vocab: Vocab) -> Self {
        self.vocab = Some(vocab);
        self
    }

    /// Calls this function with each [`Warning`]. By default they are printed to standard error.
    pub fn on_warning(mut self, f: impl Fn(&Warning) + Send + Sync + 'static) -> Self {
        self.on_warning = OnWarning::new(f);
        self
    }
}

/// Options for models on servers.
#[cfg(feature = "remote")]
impl Loader {
    /// Takes the tokenizer, the chat template and the end-of-sequence ids of a model on a server from this folder or id
    /// on the hub. By default they are taken from the folder or id that the server's model is named after.
    pub fn tokenizer_of(mut self, name: impl Into<String>) -> Self {
        self.tokenizer_of = Some(name.into());
        self
    }

    /// Changes the settings for the server, such as its key or how many log-probs are asked for.
    ///
    /// ```no_run
    /// let loader = eft::Loader::new("https://host/v1#org/model").remote(|remote| remote.key_from("MY_KEY").top(50));
    /// let large = loader.load_remote(eft::Host)?.source;
    /// # Ok::<(), eft::Error>(())
    /// ```
    pub fn remote(mut self, settings: impl Fn(Remote) -> Remote + Send + Sync + 'static) -> Self {
        self.remote = RemoteSettings(Some(Arc::new(settings)));
        self
    }
}

/// The function that changes the settings for a server.
#[cfg(feature = "remote")]
#[derive(Clone, Default)]
pub(super) struct RemoteSettings(Option<Arc<ChangeSettings>>);

#[cfg(feature = "remote")]
type ChangeSettings = dyn Fn(Remote) -> Remote + Send + Sync;

#[cfg(feature = "remote")]
impl RemoteSettings {
    pub(super) fn apply(&self, remote: Remote) -> Remote {
        match &self.0 {
            Some(change) => change(remote),
            None => remote,
        }
    }
}

#[cfg(feature = "remote")]
impl std::fmt::Debug for RemoteSettings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("RemoteSettings(..)")
    }
}

/// Options for models on the hub.
#[cfg(feature = "hub")]
impl Loader {
    /// Loads this revision: a branch, a tag or a commit. `main` by default.
    pub fn revision(mut self, revision: impl Into<String>) -> Self {
        self.hub.revision = Some(revision.into());
        self
    }

    /// Loads from the cache only. The environment variable `HF_HUB_OFFLINE=1` does the same.
    pub fn offline(mut self) -> Self {
        self.hub.offline = true;
        self
    }

    /// Shows no progress bars while files are downloaded.
    pub fn quiet(mut self) -> Self {
        self.hub.quiet = true;
        self
    }

    /// Uses this folder as the cache, instead of the one that `HF_HUB_CACHE` or `HF_HOME` names, or the default one in
    /// the home directory.
    pub fn cache(mut self, folder: impl Into<PathBuf>) -> Self {
        self.hub.cache = Some(folder.into());
        self
    }

    /// Uses another hub, such as a mirror, instead of the one that `HF_ENDPOINT` names or `https://huggingface.co`.
    pub fn endpoint(mut self, url: impl Into<String>) -> Self {
        self.hub.endpoint = Some(url.into());
        self
    }
}
