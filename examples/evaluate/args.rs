//! The command line.
use std::path::PathBuf;
use std::str::FromStr;

use anyhow::{Context, bail};
use clap::{Parser, ValueEnum};
use eft_eval::{LengthNorm, Normalise};

use super::flags::{DecodingFlags, ModelFlags};

/// Does the combination help on a task, and with which α? Evaluates the base, the tuned model and `base + α·(tuned −
/// untuned)` for each α, with intervals.
///
/// Without models and task, those of the zoo answer short questions about people who are not in the texts they were
/// tuned on. A run that is interrupted goes on where it stopped when it is started again.
///
/// With `--formula`, evaluates what the formula says. In it, `alpha` stands for each of the values of `--alpha`, as in
/// `large + alpha*(tuned - small)`; a formula without it is one combination.
#[derive(Parser)]
// The flag of one α is replaced by one of several.
#[command(mut_arg("alpha", |arg| arg.long("one-alpha").hide(true)))]
pub(crate) struct Args {
    /// The task, a file of JSON Lines with `prompt`, `question` or `messages`, and `answer`, `references`, `choices`
    /// and `label`, or `text`; several files are one task
    #[arg(long, value_name = "FILE")]
    pub(crate) task: Vec<PathBuf>,
    /// Files of the same kind on which α is chosen; the task then only reports what the chosen α does
    #[arg(long, value_name = "FILE", requires = "task")]
    pub(crate) validation: Vec<PathBuf>,
    /// The weights of the difference that tuning makes, or what `alpha` is in a formula: one (`1`), a list (`0,0.5,1`), five
    /// values of a range (`0..2`), or any number of them (`0..2:9`); by default `0..2`
    #[arg(long = "alpha", value_name = "ALPHAS", allow_hyphen_values = true)]
    pub(crate) alphas: Option<Alphas>,
    /// How an item is scored
    #[arg(long, value_enum, default_value = "exact")]
    pub(crate) score: Score,
    /// What is done to answers and references before they are compared, with `--score exact`; by default `trim`
    #[arg(long, value_enum)]
    pub(crate) normalise: Option<NormaliseFlag>,
    /// A regular expression whose first group, or whose match, is the answer in a text, with `--score exact` or `numeric`; its
    /// last match counts
    #[arg(long, value_name = "REGEX")]
    pub(crate) extract: Option<String>,
    /// The relative tolerance of numbers, with `--score numeric`; by default 0
    #[arg(long, value_name = "SHARE")]
    pub(crate) tolerance: Option<f64>,
    /// What the log-likelihood of a choice is divided by, with `--score choices`; by default `none`
    #[arg(long, value_enum)]
    pub(crate) norm: Option<NormFlag>,
    /// What is written between a prompt and a choice, with `--score choices`; by default a space after text, and nothing in a conversation
    #[arg(long, value_name = "TEXT")]
    pub(crate) delimiter: Option<String>,
    /// The number of demonstrations before every prompt
    #[arg(long, value_name = "N", default_value_t = 0, requires = "shots_from")]
    pub(crate) shots: usize,
    /// The file that demonstrations are drawn from
    #[arg(long, value_name = "FILE", requires = "shots")]
    pub(crate) shots_from: Option<PathBuf>,
    /// A string that ends a text; can be repeated
    #[arg(long, value_name = "TEXT")]
    pub(crate) until: Vec<String>,
    /// Continue prompts that are text as they are, instead of answering them
    #[arg(long)]
    pub(crate) raw: bool,
    /// Use only the first N items
    #[arg(long, value_name = "N")]
    pub(crate) limit: Option<usize>,
    /// A field by which items are grouped for the intervals, since those of a group are not independent
    #[arg(long, value_name = "FIELD")]
    pub(crate) cluster: Option<String>,
    /// The number of items that run at once
    #[arg(long, value_name = "N", default_value_t = 64)]
    pub(crate) batch: usize,
    /// The folder for the results and the page
    #[arg(long, value_name = "FOLDER", default_value = "evaluation")]
    pub(crate) out: PathBuf,
    #[command(flatten)]
    pub(crate) models: ModelFlags,
    #[command(flatten)]
    pub(crate) decoding: DecodingFlags,
}

impl Args {
    /// Refuses flags that have no part in how items are scored.
    pub(crate) fn check(&self) -> anyhow::Result<()> {
        let texts = [Score::Exact, Score::Numeric];
        for (flag, given, scores) in [
            ("normalise", self.normalise.is_some(), &texts[..1]),
            ("extract", self.extract.is_some(), &texts),
            ("tolerance", self.tolerance.is_some(), &texts[1..]),
            ("norm", self.norm.is_some(), &[Score::Choices]),
            ("delimiter", self.delimiter.is_some(), &[Score::Choices]),
        ] {
            if given && !scores.contains(&self.score) {
                let score = self.score.to_possible_value();
                let score = score.as_ref().map_or("", |score| score.get_name());
                bail!("`--{flag}` has no part in `--score {score}`");
            }
        }
        Ok(())
    }
}

/// How an item is scored.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Score {
    /// The text equals a reference
    Exact,
    /// The last number of the text equals that of a reference
    Numeric,
    /// The implicit reward of the tuned and the untuned model, in nats
    Reward,
    /// The right one of the item's choices is the likeliest
    Choices,
    /// The log-likelihood of the item's text
    Likelihood,
}

/// What is done to texts before they are compared.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum NormaliseFlag {
    AsGiven,
    Trim,
    LowerCase,
    Squad,
}

impl From<NormaliseFlag> for Normalise {
    fn from(flag: NormaliseFlag) -> Self {
        match flag {
            NormaliseFlag::AsGiven => Self::AsGiven,
            NormaliseFlag::Trim => Self::Trim,
            NormaliseFlag::LowerCase => Self::LowerCase,
            NormaliseFlag::Squad => Self::Squad,
        }
    }
}

/// What the log-likelihood of a choice is divided by.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum NormFlag {
    None,
    Token,
    Byte,
}

impl From<NormFlag> for LengthNorm {
    fn from(flag: NormFlag) -> Self {
        match flag {
            NormFlag::None => Self::None,
            NormFlag::Token => Self::Token,
            NormFlag::Byte => Self::Byte,
        }
    }
}

/// The weights to evaluate, in ascending order.
#[derive(Clone)]
pub(crate) struct Alphas(pub(crate) Vec<f32>);

impl Alphas {
    /// The values of `0..2`.
    pub(crate) const DEFAULT: [f32; 5] = [0.0, 0.5, 1.0, 1.5, 2.0];
}

impl FromStr for Alphas {
    type Err = anyhow::Error;

    fn from_str(text: &str) -> Result<Self, anyhow::Error> {
        let number =
            |part: &str| part.trim().parse::<f32>().with_context(|| format!("`{part}` is not a number"));
        let mut alphas = match text.split_once("..") {
            None => text.split(',').map(number).collect::<Result<Vec<_>, _>>()?,
            Some((from, rest)) => {
                let (to, count) = rest.split_once(':').unwrap_or((rest, "5"));
                let count: u16 =
                    count.parse().with_context(|| format!("`{count}` is not a number of values"))?;
                if count < 2 {
                    bail!("a range has at least 2 values");
                }
                let (from, to) = (number(from)?, number(to)?);
                let step = (to - from) / f32::from(count - 1);
                // Steps do not add up: 0.1 is written as 0.1.
                (0..count).map(|n| ((from + f32::from(n) * step) * 1e4).round() / 1e4).collect()
            }
        };
        if alphas.iter().any(|alpha| !alpha.is_finite()) {
            bail!("every weight must be finite");
        }
        alphas.sort_by(f32::total_cmp);
        alphas.dedup();
        Ok(Self(alphas))
    }
}
