//! The programs under comparison, ours and others, which measure passes of one model.
use std::ffi::OsStr;
use std::path::Path;

use eft::Backend;
use eft::candle::CacheType;
use eft::models::map_file;

use crate::passes::memory::{files, sum};
use crate::passes::{Ours, Pass, by_candle, by_candle_with};
use crate::report::Report;
use crate::theirs::{Theirs, numbers, threads};
use crate::{Options, Part, Weights};

/// Something that measures passes.
pub(crate) trait Runner {
    /// Returns the seconds of each pass, or why there are none.
    fn run(&mut self, pass: &Pass) -> Result<Vec<f64>, String>;
}

impl<B: Backend> Runner for Ours<B> {
    fn run(&mut self, pass: &Pass) -> Result<Vec<f64>, String> {
        Ours::run(self, pass).map_err(|error| eft::error::with_sources(&error))
    }
}

impl Runner for Theirs {
    fn run(&mut self, pass: &Pass) -> Result<Vec<f64>, String> {
        self.try_ask(&pass.command()).map(|line| numbers(&line)).ok_or_else(|| "the program ended".into())
    }
}

/// Reads the files of a model from memory, as a pass of one token does. Other passes are not simulated.
struct PlainRead(Vec<Box<dyn AsRef<[u8]>>>);

impl Runner for PlainRead {
    fn run(&mut self, pass: &Pass) -> Result<Vec<f64>, String> {
        let read = |_| {
            let start = std::time::Instant::now();
            for file in &self.0 {
                std::hint::black_box(sum((**file).as_ref()));
            }
            start.elapsed().as_secs_f64()
        };
        Ok((0..pass.count).map(read).collect())
    }
}

/// One of the programs under comparison.
pub(crate) struct Contestant {
    /// The type of the weights; programs with the same are compared.
    pub(crate) weights: &'static str,
    pub(crate) program: &'static str,
    /// The bytes of weights that a pass reads.
    pub(crate) bytes: Option<u64>,
    pub(crate) runner: Box<dyn Runner>,
}

impl Contestant {
    fn ours<B: Backend>(weights: &'static str, program: &'static str, ours: Ours<B>) -> Self {
        let bytes = Some(ours.engine.spec().bytes).filter(|bytes| *bytes > 0);
        Self { weights, program, bytes, runner: Box::new(ours) }
    }

    /// A script of this folder, run by the interpreter that the variable `python` names.
    fn theirs(
        weights: &'static str,
        program: &'static str,
        python: &str,
        script: &str,
        arguments: &[&OsStr],
        report: &mut Report,
    ) -> Option<Self> {
        let theirs = start(program, python, script, arguments, report)?;
        Some(Self { weights, program, bytes: None, runner: Box::new(theirs) })
    }

    /// Whether the program takes part in a measurement. vLLM is measured only where it is strong: reading prompts, and
    /// with many rows.
    pub(crate) fn enters(&self, pass: &Pass) -> bool {
        match self.program {
            "vLLM" => pass.wanted == 1 && pass.new == 1 && pass.rows == 16,
            // Where much of the cache is read.
            "candle, f16 cache" | "candle, q8_0 cache" => pass.past.max(pass.new) >= 500,
            "plain read" => pass.rows == 1 && pass.new == 1 && pass.past <= 64,
            _ => true,
        }
    }
}

/// Starts a script; if that is not possible, the report says why.
pub(crate) fn start(
    program: &str,
    python: &str,
    script: &str,
    arguments: &[&OsStr],
    report: &mut Report,
) -> Option<Theirs> {
    let Some(mut command) = Theirs::command(python, script) else {
        report.skip(format!("{program}: {python} names no interpreter"));
        return None;
    };
    command.args(arguments).stderr(report.log());
    let theirs = Theirs::spawn(command);
    if theirs.is_none() {
        report.skip(format!(
            "{program}: `{script}` ended before it was ready; its messages are in {}",
            report.log_name()
        ));
    }
    theirs
}

/// All programs that can run a model with weights of the chosen types.
pub(crate) fn of(folder: &Path, model: &str, options: &Options, report: &mut Report) -> Vec<Contestant> {
    let mut all = Vec::new();
    if options.weights.contains(&Weights::Gguf) {
        all.extend(of_gguf(&folder.join(format!("{model}.gguf")), report));
    }
    for (weights, kind) in [("float32", Weights::Float32), ("bfloat16", Weights::Bfloat16)] {
        if options.weights.contains(&kind) {
            all.extend(of_folder(folder, model, weights, options, report));
        }
    }
    all
}

fn of_gguf(file: &Path, report: &mut Report) -> Vec<Contestant> {
    if !file.exists() {
        report.skip(format!("{} does not exist", file.display()));
        return Vec::new();
    }
    let smaller = [("candle, f16 cache", CacheType::F16), ("candle, q8_0 cache", CacheType::Q8_0)];
    let mut all = vec![Contestant::ours("GGUF", "candle", by_candle(file))];
    all.extend(smaller.map(|(name, kind)| Contestant::ours("GGUF", name, by_candle_with(file, kind))));
    let threads = threads().to_string();
    let arguments = [file.as_os_str(), OsStr::new(&threads)];
    let script = "llama_cpp.py";
    all.extend(Contestant::theirs("GGUF", "llama.cpp", "EFT_LLAMA_PYTHON", script, &arguments, report));
    all.push(plain_read("GGUF", file));
    all
}

fn of_folder(
    folder: &Path,
    model: &str,
    weights: &'static str,
    options: &Options,
    report: &mut Report,
) -> Vec<Contestant> {
    let path = folder.join(format!("{model}-{weights}"));
    if !path.exists() {
        report.skip(format!("{model} in {weights}: {} does not exist", path.display()));
        return Vec::new();
    }
    let threads = threads().to_string();
    let mut all = vec![Contestant::ours(weights, "candle", by_candle(&path))];
    all.extend(by_libtorch(weights, &path, report));
    let arguments = [OsStr::new(weights), OsStr::new(&threads), path.as_os_str()];
    all.extend(Contestant::theirs(weights, "transformers", "EFT_PYTHON", "eager.py", &arguments, report));
    if weights == "float32" {
        if options.has(Part::Batches) {
            let script = "peers/vllm_passes.py";
            all.extend(Contestant::theirs(weights, "vLLM", "EFT_VLLM_PYTHON", script, &arguments, report));
        }
        all.extend(by_onnx_runtime(&folder.join(format!("{model}-onnx")), report));
    }
    all.push(plain_read(weights, &path));
    all
}

fn plain_read(weights: &'static str, model: &Path) -> Contestant {
    // SAFETY: the benchmark changes no file of a model, and its description asks to change none while it runs.
    let maps: Vec<_> = files(model).iter().map(|file| unsafe { map_file(file) }.unwrap()).collect();
    let bytes = maps.iter().map(|map| map.len() as u64).sum();
    let maps = maps.into_iter().map(|map| Box::new(map) as Box<dyn AsRef<[u8]>>).collect();
    Contestant { weights, program: "plain read", bytes: Some(bytes), runner: Box::new(PlainRead(maps)) }
}

#[cfg(feature = "tch")]
fn by_libtorch(weights: &'static str, folder: &Path, _: &mut Report) -> Option<Contestant> {
    use eft::models::{Checkpoint, DecoderEngine};
    let checkpoint = Checkpoint::open(folder).unwrap();
    let engine = DecoderEngine::load(torch(weights), &checkpoint, None).unwrap();
    Some(Contestant::ours(weights, "libtorch", Ours::new(engine)))
}

/// libtorch, computing in a type.
#[cfg(feature = "tch")]
pub(crate) fn torch(weights: &str) -> eft::tch::TorchNn {
    use eft::tch::{Kind, Torch, TorchNn};
    let kind = if weights == "bfloat16" { Kind::BFloat16 } else { Kind::Float };
    TorchNn::new(Torch::cpu()).kind(kind)
}

#[cfg(not(feature = "tch"))]
fn by_libtorch(_: &'static str, _: &Path, report: &mut Report) -> Option<Contestant> {
    report.skip("libtorch: built without the feature `tch`".into());
    None
}

#[cfg(feature = "ort")]
fn by_onnx_runtime(folder: &Path, report: &mut Report) -> Option<Contestant> {
    use eft::ort::{OnnxEngine, Options, Ort};
    if !folder.exists() {
        report.skip(format!("ONNX Runtime: {} does not exist", folder.display()));
        return None;
    }
    let ort = Ort::new(&Options::default().threads(threads())).unwrap();
    Some(Contestant::ours(
        "float32",
        "ONNX Runtime",
        Ours::new(OnnxEngine::load(folder, &ort, None).unwrap()),
    ))
}

#[cfg(not(feature = "ort"))]
fn by_onnx_runtime(_: &Path, report: &mut Report) -> Option<Contestant> {
    report.skip("ONNX Runtime: built without the feature `ort`".into());
    None
}
