//! [`RemoteProposer`]: a server that samples text, as the base of a weak-to-strong search.
mod samples;
mod session;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use eft_core::search::{Proposer, ProposerSession};
use eft_core::{Decoding, Error as CoreError, Prompt, Renderer, Result as CoreResult, Vocab};

use crate::kind::Kind;
use crate::server::Server;
use session::{Beginning, SampledSession};

/// A model on a server as the base of a [search](eft_core::search): it is asked for sampled text only, never for
/// log-probs. Made by [`Server::proposer`].
///
/// Rows with the same text are sampled by one request (`n` of OpenAI's completions), and requests for different texts run
/// at the same time. If a server refuses so many samples of one request, as llama-server does when they are more than its
/// slots, they are asked for in smaller groups.
///
/// A prompt of plain text is tokenized by the server. With a renderer ([`rendered_by`](Self::rendered_by)), prompts of
/// every form, and the texts so far, are sent as token ids, and texts end where the server's context is full. A text ends
/// with the end-of-sequence ids that the server's model has.
///
/// Temperature, top-k, top-p and min-p of the search's [`Sampling`](eft_core::Sampling) are sent along, and what a server
/// would filter or penalise by default is switched off; with [`Kind::OpenAi`], which has no fields for that, the server's
/// own defaults apply. Every sample has a seed of its own. A second run gives the same texts if the server keeps to seeds
/// (vLLM and llama-server do; SGLang only with `--enable-deterministic-inference`).
///
/// ```no_run
/// use eft_backend_remote::Remote;
/// use eft_core::search::{ChunkBeamSearch, ImplicitReward};
/// use eft_core::{Host, Source};
///
/// # fn pair() -> (Source<Host>, Source<Host>) { unreachable!() }
/// let server = Remote::connect("http://127.0.0.1:8000")?;
/// let (tuned, small) = pair();
/// let base = server.proposer();
/// let found = ChunkBeamSearch::new(&base, ImplicitReward::new(&tuned, &small)).run("How do magnets work?")?;
/// println!("{}", found.best().continuation.to_text());
/// # Ok::<(), eft_core::Error>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct RemoteProposer {
    server: Server,
    renderer: Option<Arc<dyn Renderer>>,
    /// The most samples of one request that the server has not refused.
    at_once: Arc<AtomicUsize>,
}

impl Server {
    /// Makes the base of a search, which samples text from the server's model and needs no log-probs.
    pub fn proposer(&self) -> RemoteProposer {
        RemoteProposer {
            server: self.clone(),
            renderer: None,
            at_once: Arc::new(AtomicUsize::new(usize::MAX)),
        }
    }
}

impl RemoteProposer {
    /// Makes token ids of prompts, and of the texts that follow them, by this renderer. Conversations need one.
    pub fn rendered_by(mut self, renderer: impl Renderer + 'static) -> Self {
        self.renderer = Some(Arc::new(renderer));
        self
    }

    /// Returns the server.
    pub fn server(&self) -> &Server {
        &self.server
    }

    /// Refuses settings that a server cannot be asked for.
    fn check(&self, decoding: &Decoding) -> CoreResult<()> {
        decoding.validate()?;
        let Decoding { sampling, processors, truncations, stop_ids, stop_sequences, .. } = decoding;
        let standard_only = self.server.kind() == Kind::OpenAi;
        let unsupported = [
            (!processors.is_empty(), "processors of scores"),
            (!truncations.is_empty(), "truncations"),
            (stop_ids.is_some() || !stop_sequences.is_empty(), "stop ids and stop sequences"),
            (decoding.alternatives > 0 || decoding.rivals.is_some(), "alternatives and attributions"),
            (standard_only && sampling.top_k.is_some(), "top-k, which is not part of OpenAI's completions"),
            (standard_only && sampling.min_p.is_some(), "min-p, which is not part of OpenAI's completions"),
        ];
        match unsupported.iter().find(|(set, _)| *set) {
            Some((_, what)) => {
                let who = format!("{}, which is asked for sampled text,", self.server.url());
                Err(CoreError::Unsupported { who, what: (*what).into() })
            }
            None => Ok(()),
        }
    }

    fn beginning(&self, prompt: &Prompt) -> CoreResult<Beginning<'_>> {
        match (&self.renderer, prompt) {
            (Some(renderer), prompt) => {
                let tokens = renderer.render(self.server.model(), prompt)?;
                Ok(Beginning::Tokens { tokens, renderer: &**renderer })
            }
            (None, Prompt::Text(text)) => Ok(Beginning::Text(text.clone())),
            (None, Prompt::Tokens(_) | Prompt::Chat(_)) => Err(CoreError::CannotRender {
                term: self.server.model().into(),
                what: prompt.form(),
                missing: "without a renderer, the server is only sent plain text".into(),
            }),
        }
    }

    fn at_once(&self) -> usize {
        self.at_once.load(Ordering::Relaxed)
    }

    fn lower(&self, at_once: usize) {
        self.at_once.fetch_min(at_once, Ordering::Relaxed);
    }
}

impl Proposer for RemoteProposer {
    fn vocab(&self) -> Option<&Arc<Vocab>> {
        None
    }

    fn open(&self, prompt: &Prompt, decoding: &Decoding) -> CoreResult<Box<dyn ProposerSession + '_>> {
        self.check(decoding)?;
        let beginning = self.beginning(prompt)?;
        Ok(Box::new(SampledSession::new(self, beginning, decoding.sampling)))
    }
}

impl std::fmt::Debug for RemoteProposer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RemoteProposer").field("server", &self.server).finish_non_exhaustive()
    }
}
