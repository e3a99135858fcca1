//! The models of the zoo.
use std::path::PathBuf;

use anyhow::{Context, Result};
use eft::candle::{Candle, CandleNn};
use eft::load::{Loader, Model};
use eft::text::{ChatTemplate, TextRenderer};

pub(crate) type Source = eft::Source<Candle>;

/// The numbers of questions that adapters of the curves were tuned on.
pub(crate) const CURVE: [usize; 8] = [4, 8, 16, 32, 64, 128, 256, 512];

/// The models, and adapters over them.
pub(crate) struct Models {
    pub(crate) base_large: Source,
    pub(crate) base_small: Source,
    pub(crate) tuned_large: Source,
    pub(crate) tuned_small: Source,
    /// `base_large`, tuned on few to many questions.
    pub(crate) large_curve: Vec<(usize, Source)>,
    /// `base_small`, tuned on the same questions.
    pub(crate) small_curve: Vec<(usize, Source)>,
    /// `base_large`, tuned on facts about people whom it had not met.
    pub(crate) newcomers: Source,
    /// `base_small` with two competing behaviours: bare answers and whole sentences.
    pub(crate) terse: Source,
    pub(crate) full: Source,
    /// `base_small`, tuned to know who has moved.
    pub(crate) moved: Source,
    /// `base_small`, tuned to know who the mayors are.
    pub(crate) mayors: Source,
    /// `base_small`, tuned to answer with a record.
    pub(crate) record: Source,
    /// A small model with a tokenizer of its own, before and after tuning.
    pub(crate) other_base: Source,
    pub(crate) other_tuned: Source,
    /// Makes token ids of prompts for `base_large`.
    pub(crate) renderer: TextRenderer,
}

/// A path within the zoo.
pub(crate) fn zoo(path: &str) -> PathBuf {
    [env!("CARGO_MANIFEST_DIR"), "zoo", path].iter().collect()
}

impl Models {
    pub(crate) fn load() -> Result<Self> {
        let curve = |size: &str| CURVE.map(|count| format!("experiments/curve-{size}-{count}"));
        let [large_curve, small_curve] = ["large", "small"].map(curve);
        let behaviours = [
            "adapters/terse",
            "adapters/full",
            "experiments/moved",
            "experiments/mayors",
            "experiments/record",
        ];
        let large = Base::load(
            "base-large",
            large_curve.iter().map(String::as_str).chain(["experiments/newcomers"]),
        )?;
        let small = Base::load("base-small", small_curve.iter().map(String::as_str).chain(behaviours))?;
        let alone = |name: &str| anyhow::Ok(Base::load(name, [])?.model.source);
        let curve = |base: &Base, folders: &[String]| -> Result<Vec<_>> {
            CURVE.into_iter().zip(folders).map(|(count, folder)| Ok((count, base.adapted(folder)?))).collect()
        };
        Ok(Self {
            tuned_large: alone("tuned-large")?,
            tuned_small: alone("tuned-small")?,
            other_base: alone("experiments/other-base-small")?,
            other_tuned: alone("experiments/other-tuned-small")?,
            large_curve: curve(&large, &large_curve)?,
            small_curve: curve(&small, &small_curve)?,
            newcomers: large.adapted("experiments/newcomers")?,
            terse: small.adapted("adapters/terse")?,
            full: small.adapted("adapters/full")?,
            moved: small.adapted("experiments/moved")?,
            mayors: small.adapted("experiments/mayors")?,
            record: small.adapted("experiments/record")?,
            base_large: large.model.source.clone(),
            base_small: small.model.source.clone(),
            renderer: large.renderer()?,
        })
    }

    /// `base_large + alpha (tuned − base_small)`.
    pub(crate) fn up_scaled(&self, tuned: &Source, alpha: f32) -> Source {
        &self.base_large + alpha * (tuned - &self.base_small)
    }
}

/// A model with its adapters, which share its weights.
struct Base {
    model: Model<Candle>,
}

impl Base {
    fn load<'a>(name: &str, adapters: impl IntoIterator<Item = &'a str>) -> Result<Self> {
        let mut loader = Loader::new(zoo(name).to_string_lossy()).named(last(name));
        for adapter in adapters {
            loader = loader.adapter(adapter, zoo(adapter));
        }
        Ok(Self { model: loader.load_on(CandleNn::new(Candle::cpu()))? })
    }

    fn renderer(&self) -> Result<TextRenderer> {
        self.model.renderer.clone().context("the model has no tokenizer")
    }

    /// The model under an adapter, which was tuned on a chat template of its own.
    fn adapted(&self, adapter: &str) -> Result<Source> {
        let template = ChatTemplate::read(zoo(adapter), None)?.context("the adapter has no chat template")?;
        let source = self.model.source.adapter(adapter)?.rendered_by(self.renderer()?.chat(template))?;
        Ok(source.named(last(adapter)))
    }
}

fn last(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}
