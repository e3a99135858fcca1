//! [`Prepared`]: a request that has been read and checked, with its jobs.
use std::sync::Arc;
use std::time::Instant;

use eft::sample::Processor;
use eft::{Prompt, Sampling, TokenId, Vocab};
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};

use super::body::{Body, LogProbs, Stops, parse};
use super::eft_fields::EftFields;
use super::error::ApiError;
use super::processors::{field, processors};
use super::prompts::{prompts, with_tools};
use super::{App, now, tools};
use crate::models::Source;
use crate::schedule::{Attribution, Generate, Job, MOST_ALTERNATIVES, Score, Task, Update};

/// Which of the two protocols a request speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Protocol {
    Chat,
    Completions,
}

/// A request that has been read and checked.
pub(super) struct Prepared {
    pub(super) protocol: Protocol,
    pub(super) id: String,
    pub(super) created: u64,
    pub(super) model: String,
    /// The jobs, until they are submitted.
    pub(super) jobs: Vec<Job>,
    /// The updates of the answers: first of the texts, then of the prompts that are scored.
    pub(super) updates: UnboundedReceiver<(usize, Update)>,
    pub(super) submitted: Instant,
    /// When a client that has still not read its stream loses the rest.
    pub(super) read_until: Instant,
    /// The number of texts of each prompt.
    pub(super) samples: usize,
    pub(super) prompts: Vec<PreparedPrompt>,
    /// How many alternatives are reported at each position, if log-probs are reported.
    pub(super) log_probs: Option<usize>,
    pub(super) echo: bool,
    /// Whether no text is generated, and the prompts are answered alone.
    pub(super) echo_only: bool,
    pub(super) stream: bool,
    pub(super) include_usage: bool,
    pub(super) attribution: bool,
    /// Whether the request has a combination of its own, whose faults are those of the request.
    pub(super) own_combination: bool,
    pub(super) vocab: Arc<Vocab>,
}

/// A prompt as it is counted and echoed.
pub(super) struct PreparedPrompt {
    pub(super) tokens: Vec<TokenId>,
    pub(super) text: String,
}

impl Prepared {
    /// The number of texts.
    pub(super) fn texts(&self) -> usize {
        self.prompts.len() * self.samples
    }

    /// Whether the log-probs of this prompt are computed.
    pub(super) fn scores(&self, prompt: usize) -> bool {
        self.echo && self.log_probs.is_some() && self.prompts[prompt].tokens.len() > 1
    }

    pub(super) fn prompt_tokens(&self) -> usize {
        self.prompts.iter().map(|prompt| prompt.tokens.len()).sum()
    }
}

/// Reads and checks a request.
pub(super) fn prepare(app: &App, protocol: Protocol, bytes: &[u8]) -> Result<Prepared, ApiError> {
    let mut body: Body = parse(bytes)?;
    refuse_unsupported(protocol, &body)?;
    let fields = EftFields::of(body.eft.take())?;
    let model = match body.model.take() {
        Some(model) => model,
        None => app.models.served().next().map_or(String::new(), |(name, _)| name.to_owned()),
    };
    let source = app.models.resolve(&model, fields.formula.as_deref(), &fields.numbers);
    let source = source.map_err(|unresolved| unresolved.into_error(&model))?;

    let asked = match protocol {
        Protocol::Chat => {
            let prompt = with_tools(&mut body)?;
            tools::check(app, &source, &prompt)?;
            vec![prompt]
        }
        Protocol::Completions => prompts(body.prompt.take())?,
    };
    let echo = protocol == Protocol::Completions && body.echo == Some(true);
    let counted = |prompt: Prompt| {
        let tokens = app.models.render(&prompt).map_err(|e| ApiError::models(&e, true))?;
        if tokens.is_empty() {
            return Err(ApiError::field("prompt", "has no tokens"));
        }
        let text = match &prompt {
            Prompt::Text(text) => text.clone(),
            _ => String::from_utf8_lossy(&source.vocab().decode(&tokens)).into_owned(),
        };
        let prompt = if echo { Prompt::Tokens(tokens.clone()) } else { prompt };
        Ok((prompt, PreparedPrompt { tokens, text }))
    };
    let counted: Vec<_> = asked.into_iter().map(counted).collect::<Result<_, _>>()?;
    let (asked, prompts): (Vec<_>, Vec<_>) = counted.into_iter().unzip();

    let log_probs = log_probs(protocol, &body)?;
    let stream = body.stream == Some(true);
    let samples = samples(app, &body, asked.len())?;
    let settings = Settings {
        sampling: sampling(app, &body)?,
        max_tokens: max_tokens(app, protocol, &body)?,
        stops: stops(&mut body)?,
        alternatives: log_probs.is_some_and(|count| count > 0),
        samples,
    };
    let echo_only = echo && settings.max_tokens == 0;
    let (sender, updates) = unbounded_channel();
    let maker = JobMaker { app, source: &source, submitted: Instant::now(), sender };
    let mut jobs = Vec::new();
    for (index, (prompt, counted)) in asked.into_iter().zip(&prompts).enumerate() {
        let generate = match echo_only {
            true => None,
            false => {
                let processors = processors(app, &body, &source, &counted.tokens)?;
                let attribution = attribution(&source, &prompt, fields.attribution)?;
                Some(settings.generate(processors, attribution))
            }
        };
        let scored = log_probs.filter(|_| echo).and_then(|alternatives| score(&counted.tokens, alternatives));
        let of_prompt = asked_count(&prompts, samples) + index;
        match (scored, generate) {
            // The pass that scores a prompt also gives the token after it.
            (Some((begin, mut scored)), Some(generate)) if generate.is_one_token() => {
                scored.next = Some((index, generate));
                jobs.push(maker.job(begin, Task::Score(scored), of_prompt));
            }
            (scored, generate) => {
                jobs.extend(scored.map(|(begin, scored)| maker.job(begin, Task::Score(scored), of_prompt)));
                jobs.extend(
                    generate.map(|generate| maker.job(prompt, Task::Generate(generate), index * samples)),
                );
            }
        }
    }
    if jobs.len() > app.limits.queue {
        let reason = format!(
            "takes {} places in the queue of this server, which has {}",
            jobs.len(),
            app.limits.queue
        );
        return Err(ApiError::field("prompt", reason));
    }
    let kind = if protocol == Protocol::Chat { "chatcmpl" } else { "cmpl" };
    Ok(Prepared {
        protocol,
        id: format!("{kind}-{:016x}", fastrand::u64(..)),
        created: now(),
        model,
        jobs,
        updates,
        submitted: maker.submitted,
        read_until: maker.submitted + 2 * app.time(),
        samples,
        prompts,
        log_probs,
        echo,
        echo_only,
        stream,
        include_usage: body.stream_options.and_then(|options| options.include_usage) == Some(true),
        attribution: fields.attribution,
        own_combination: fields.changes(),
        vocab: source.vocab().clone(),
    })
}

fn asked_count(prompts: &[PreparedPrompt], samples: usize) -> usize {
    prompts.len() * samples
}

/// The settings of all texts of a request.
struct Settings {
    sampling: Sampling,
    max_tokens: usize,
    stops: Vec<String>,
    alternatives: bool,
    samples: usize,
}

impl Settings {
    fn generate(&self, processors: Vec<Arc<dyn Processor>>, attribution: Option<Attribution>) -> Generate {
        Generate {
            samples: self.samples,
            sampling: self.sampling,
            max_tokens: self.max_tokens,
            stops: self.stops.clone(),
            processors,
            alternatives: self.alternatives,
            attribution,
        }
    }
}

struct JobMaker<'a> {
    app: &'a App,
    source: &'a Source,
    submitted: Instant,
    sender: UnboundedSender<(usize, Update)>,
}

impl JobMaker<'_> {
    fn job(&self, prompt: Prompt, task: Task, first: usize) -> Job {
        Job {
            source: self.source.clone(),
            prompt,
            task,
            first,
            updates: self.sender.clone(),
            submitted: self.submitted,
            deadline: self.submitted + self.app.time(),
        }
    }
}

/// The first token of a prompt, and the scoring of the others, if there are any.
fn score(tokens: &[TokenId], alternatives: usize) -> Option<(Prompt, Score)> {
    let (begin, rest) = tokens.split_first().filter(|(_, rest)| !rest.is_empty())?;
    Some((Prompt::from([*begin]), Score { tokens: rest.to_vec(), alternatives, next: None }))
}

/// Which terms' contributions are reported after a prompt.
fn attribution(source: &Source, prompt: &Prompt, asked: bool) -> Result<Option<Attribution>, ApiError> {
    if !asked {
        return Ok(None);
    }
    match source.has_cancelled_terms(prompt.clone()).map_err(|error| ApiError::models(&error, true))? {
        true => Ok(Some(Attribution::CancelledTerms)),
        false => Ok(Some(Attribution::Terms)),
    }
}

/// Refuses what would change the answer and is not supported.
fn refuse_unsupported(protocol: Protocol, body: &Body) -> Result<(), ApiError> {
    if protocol == Protocol::Completions && body.tools.as_ref().is_some_and(|tools| !tools.is_empty()) {
        return Err(ApiError::field("tools", "only conversations have tools"));
    }
    if body.functions.as_ref().is_some_and(|functions| !functions.is_empty()) {
        return Err(ApiError::field("functions", "is not supported: `tools` has replaced it"));
    }
    if body.suffix.as_ref().is_some_and(|suffix| !suffix.is_empty()) {
        return Err(ApiError::field(
            "suffix",
            "the models write what follows a prompt, and cannot insert text",
        ));
    }
    if body.best_of.is_some_and(|best| best != body.n.unwrap_or(1)) {
        return Err(ApiError::field("best_of", "is not supported, unless it equals `n`"));
    }
    Ok(())
}

fn log_probs(protocol: Protocol, body: &Body) -> Result<Option<usize>, ApiError> {
    let most = |name: &str, count: usize| match count <= MOST_ALTERNATIVES {
        true => Ok(Some(count)),
        false => Err(ApiError::field(name, format!("is {count}, but must be at most {MOST_ALTERNATIVES}"))),
    };
    match (protocol, body.logprobs, body.top_logprobs) {
        (Protocol::Chat, None | Some(LogProbs::Flag(false)), None) => Ok(None),
        (Protocol::Chat, None | Some(LogProbs::Flag(false)), Some(0)) => Ok(None),
        (Protocol::Chat, None | Some(LogProbs::Flag(false)), Some(_)) => {
            Err(ApiError::field("top_logprobs", "needs `logprobs` to be true"))
        }
        (Protocol::Chat, Some(LogProbs::Flag(true)), count) => most("top_logprobs", count.unwrap_or(0)),
        (Protocol::Chat, Some(LogProbs::Count(_)), _) => {
            Err(ApiError::field("logprobs", "expected true or false; the number is `top_logprobs`"))
        }
        (Protocol::Completions, None | Some(LogProbs::Flag(false)), _) => Ok(None),
        (Protocol::Completions, Some(LogProbs::Count(count)), _) => most("logprobs", count),
        (Protocol::Completions, Some(LogProbs::Flag(true)), _) => {
            Err(ApiError::field("logprobs", "expected a number of alternatives"))
        }
    }
}

/// The number of texts of each prompt.
fn samples(app: &App, body: &Body, prompts: usize) -> Result<usize, ApiError> {
    let samples = body.n.unwrap_or(1);
    let most = app.limits.rows.min(app.limits.texts);
    if samples == 0 || samples > most {
        return Err(ApiError::field("n", format!("is {samples}, but must be between 1 and {most}")));
    }
    if samples.saturating_mul(prompts) > app.limits.texts {
        let reason = format!(
            "{prompts} prompts with `n` = {samples} are {} texts, and this server allows {} in a request",
            samples.saturating_mul(prompts),
            app.limits.texts
        );
        return Err(ApiError::field("prompt", reason));
    }
    Ok(samples)
}

fn sampling(app: &App, body: &Body) -> Result<Sampling, ApiError> {
    let defaults = &app.defaults;
    let top_k = match body.top_k {
        // −1 and 0 keep all tokens, as in vLLM and llama-server.
        Some(-1 | 0) => None,
        Some(k) => match usize::try_from(k) {
            Ok(k) => Some(k),
            Err(_) => return Err(ApiError::field("top_k", format!("is {k}, but must be at least -1"))),
        },
        None => defaults.top_k,
    };
    let sampling = Sampling::default()
        .temperature(body.temperature.unwrap_or(defaults.temperature))
        .top_k(top_k)
        .top_p(Some(body.top_p.unwrap_or(defaults.top_p)).filter(|p| *p != 1.0))
        .min_p(Some(body.min_p.unwrap_or(defaults.min_p)).filter(|p| *p != 0.0))
        .seed(body.seed.map_or_else(|| fastrand::u64(..), |seed| seed as u64));
    sampling.validate().map_err(|error| match &error {
        eft::Error::InvalidParameter { name, .. } => field(name, &error),
        _ => ApiError::models(&error, true),
    })?;
    Ok(sampling)
}

fn max_tokens(app: &App, protocol: Protocol, body: &Body) -> Result<usize, ApiError> {
    let (name, asked) = match (body.max_completion_tokens, body.max_tokens) {
        (Some(tokens), _) => ("max_completion_tokens", Some(tokens)),
        (None, tokens) => ("max_tokens", tokens),
    };
    let limit = app.limits.tokens;
    let default = match protocol {
        Protocol::Chat => app.defaults.chat_tokens,
        Protocol::Completions => app.defaults.completion_tokens,
    };
    match asked {
        Some(tokens) if tokens > limit => {
            Err(ApiError::field(name, format!("is {tokens}, and this server allows at most {limit}")))
        }
        Some(0) if !(protocol == Protocol::Completions && body.echo == Some(true)) => {
            Err(ApiError::field(name, "is 0, but must be at least 1, unless a prompt is echoed"))
        }
        asked => Ok(asked.unwrap_or(default.min(limit))),
    }
}

fn stops(body: &mut Body) -> Result<Vec<String>, ApiError> {
    let stops = match body.stop.take() {
        None => Vec::new(),
        Some(Stops::One(stop)) => vec![stop],
        Some(Stops::Several(stops)) => stops,
    };
    if stops.len() > 16 {
        return Err(ApiError::field("stop", format!("has {} strings; at most 16 are allowed", stops.len())));
    }
    match stops.iter().any(String::is_empty) {
        true => Err(ApiError::field("stop", "an empty string would end every text before it begins")),
        false => Ok(stops),
    }
}
