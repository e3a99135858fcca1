use std::collections::BTreeMap;

use eft_core::{Backend, Decoding, Source};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Run;
use crate::task::Kind;

/// All that is needed to repeat a run: the first line of a file of results.
///
/// ```
/// use eft_core::{from_fn, Host, Vocab};
/// use eft_eval::{Item, Items, PassFail, Run, Task};
///
/// let task = Task::texts(Items::of([Item::new("1", [0])])?, PassFail::new("any", |_, _| Ok(true)))?;
/// let model = from_fn(Host, Vocab::new("ab", ["a", "b"])?, |_| Ok(vec![0.0, 1.0])).named("model");
/// let results = Run::new(&task).quiet().model("model", "0123").evaluate(&(2.0 * &model))?;
/// assert_eq!(results.header.formula, "2·model");
/// assert_eq!(results.header.models["model"], "0123");
/// # Ok::<(), eft_eval::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Header {
    /// The source, as it prints itself.
    pub formula: String,
    /// What each model is: by name, its hash.
    pub models: BTreeMap<String, String>,
    /// The name of the tensor library that combined the scores.
    pub backend: String,
    /// The task: its kind and settings, the demonstrations, and the hashes of its files and of its items.
    pub task: Value,
    /// How texts were generated; `null` if none were.
    pub decoding: Value,
    /// How many items ran at once.
    pub batch: usize,
    /// What the caller has noted.
    pub notes: BTreeMap<String, Value>,
    /// The versions of crates: of this one, and those that the caller has recorded.
    pub versions: BTreeMap<String, String>,
    /// The processor's architecture and the operating system.
    pub platform: String,
}

/// The first line of a file.
#[derive(Serialize, Deserialize)]
pub(super) struct HeaderLine {
    pub(super) header: Header,
}

impl Header {
    pub(super) fn of<B: Backend>(run: &Run<'_>, source: &Source<B>) -> Self {
        let mut versions = run.versions.clone();
        versions.insert("eft-eval".into(), env!("CARGO_PKG_VERSION").into());
        Self {
            // Printed in full, however large.
            formula: format!("{source:#}"),
            models: run.models.clone(),
            backend: B::NAME.into(),
            task: run.task.to_json(),
            decoding: match run.task.kind() {
                Kind::Texts(_) => decoding(&run.decoding, &run.until),
                Kind::Choices(_) | Kind::Likelihood => Value::Null,
            },
            batch: run.batch,
            notes: run.notes.clone(),
            versions,
            platform: format!("{}-{}", std::env::consts::ARCH, std::env::consts::OS),
        }
    }

    /// Returns each value that differs from those of another header, with both values.
    pub(super) fn differences(&self, other: &Self) -> Vec<String> {
        let mut found = Vec::new();
        compare("", &json!(self), &json!(other), &mut found);
        found
    }
}

fn decoding(decoding: &Decoding, until: &[String]) -> Value {
    let Decoding { sampling, processors, truncations, max_tokens, stop_ids, stop_sequences, .. } = decoding;
    json!({
        "sampling": as_written(sampling),
        "processors": processors.len(),
        "truncations": truncations.len(),
        "max_tokens": max_tokens,
        "stop_ids": stop_ids,
        "stop_sequences": stop_sequences,
        "until": until,
    })
}

/// A value as it is in JSON text: 0.7, not what 0.7 is in double precision.
fn as_written(value: &impl Serialize) -> Value {
    serde_json::to_string(value).and_then(|text| serde_json::from_str(&text)).unwrap_or_default()
}

/// Adds a line for each value that differs below a path.
fn compare(path: &str, left: &Value, right: &Value, found: &mut Vec<String>) {
    match (left, right) {
        (Value::Object(a), Value::Object(b)) => {
            let only_right = b.keys().filter(|key| !a.contains_key(*key));
            for key in a.keys().chain(only_right) {
                let below = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
                compare(
                    &below,
                    a.get(key).unwrap_or(&Value::Null),
                    b.get(key).unwrap_or(&Value::Null),
                    found,
                );
            }
        }
        _ if left == right => {}
        _ => found.push(format!("`{path}` ({left} in the file, {right} now)")),
    }
}
