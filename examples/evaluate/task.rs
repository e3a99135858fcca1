//! The task that the arguments describe.
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use eft::Backend;
use eft_eval::{Choices, ExactMatch, Extract, FewShot, ImplicitReward, Items, NumericMatch, Task};

use super::args::{Args, NormFlag, NormaliseFlag, Score};
use super::models::Models;

/// The files of the task, and those on which α is chosen: by default short questions of the zoo.
pub(crate) fn files(args: &Args) -> Result<(Vec<PathBuf>, Vec<PathBuf>)> {
    let of_zoo = |part: &str| {
        PathBuf::from(format!("{}/zoo/questions/{part}-short.jsonl", env!("CARGO_MANIFEST_DIR")))
    };
    match (args.task.is_empty(), &args.models.large) {
        (false, _) => Ok((args.task.clone(), args.validation.clone())),
        (true, None) => Ok((vec![of_zoo("test")], vec![of_zoo("validation")])),
        (true, Some(_)) => bail!("give a `--task` for your models"),
    }
}

/// The task of some files.
pub(crate) fn task<B: Backend>(args: &Args, models: &Models<B>, files: &[PathBuf]) -> Result<Task> {
    let items = items(args, files)?;
    let extract = args.extract.as_deref().map(Extract::last).transpose()?;
    let task = match args.score {
        Score::Exact => {
            let grader =
                ExactMatch::default().normalise(args.normalise.unwrap_or(NormaliseFlag::Trim).into());
            Task::texts(items, extract.into_iter().fold(grader, ExactMatch::extract))?
        }
        Score::Numeric => {
            let grader = NumericMatch::default().relative(args.tolerance.unwrap_or(0.0))?;
            Task::texts(items, extract.into_iter().fold(grader, NumericMatch::extract))?
        }
        Score::Reward => Task::texts(items, ImplicitReward::new(&models.tuned, &models.untuned))?,
        Score::Choices => {
            let choices = Choices::default().norm(args.norm.unwrap_or(NormFlag::None).into());
            Task::choices(
                items,
                args.delimiter.iter().fold(choices, |choices, text| choices.delimiter(text)),
            )?
        }
        Score::Likelihood => Task::likelihood(items)?,
    };
    if args.shots == 0 {
        return Ok(task);
    }
    let pool = args.shots_from.clone().context("`--shots` needs `--shots-from`")?;
    let pool = read(args, &[pool])?;
    Ok(task.few_shot(FewShot::new(pool, args.shots).seed(args.decoding.seed))?)
}

fn items(args: &Args, files: &[PathBuf]) -> Result<Items> {
    let items = read(args, files)?;
    Ok(match args.limit {
        Some(limit) => items.take(limit),
        None => items,
    })
}

fn read(args: &Args, files: &[PathBuf]) -> Result<Items> {
    let items = Items::read_all(files)?;
    // A choice or a text continues its prompt as it is.
    let raw = args.raw || matches!(args.score, Score::Choices | Score::Likelihood);
    Ok(if raw { items } else { items.as_chat() })
}
