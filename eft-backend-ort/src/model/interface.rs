//! [`Interface`]: the inputs and outputs that a decoder has, read by their names.
use std::path::Path;

use ort::session::Session;
use ort::value::{Outlet, Shape, TensorElementType, ValueType};

use super::cache::CacheTensor;
use crate::{Error, Result};

const EXPECTED: &str = "inputs input_ids, and optionally attention_mask, position_ids, past_key_values.N.key and \
    past_key_values.N.value, use_cache_branch, num_logits_to_keep; outputs logits, and present.N.key and \
    present.N.value for each past_key_values";

/// The inputs and outputs of a decoder.
#[derive(Debug)]
pub(super) struct Interface {
    /// The element type of `input_ids`.
    pub(super) ids: TensorElementType,
    /// The element type of `attention_mask`.
    pub(super) mask: Option<TensorElementType>,
    /// The element type of `position_ids`.
    pub(super) positions: Option<TensorElementType>,
    /// Whether `use_cache_branch` is an input.
    pub(super) use_cache_branch: bool,
    /// The element type of `num_logits_to_keep`, and whether it has a dimension.
    pub(super) logits_to_keep: Option<(TensorElementType, bool)>,
    /// The keys and values of all layers; empty if the model has no cache.
    pub(super) caches: Vec<CacheTensor>,
    /// Whether the model was exported for batches of one row.
    pub(super) one_row: bool,
}

impl Interface {
    /// Reads the interface of a session.
    ///
    /// # Errors
    /// * [`Error::Interface`] if an input or output is missing, unknown, or of another type or shape.
    pub(super) fn of(session: &Session, file: &Path) -> Result<Self> {
        Reader { session, file }.read()
    }
}

struct Reader<'a> {
    session: &'a Session,
    file: &'a Path,
}

/// A requirement on a dimension of an input or output.
#[derive(Clone, Copy)]
enum Dim {
    /// Dynamic, or one row.
    Rows,
    /// Unknown until the model runs.
    Dynamic,
    /// A number that the file gives.
    Fixed,
    /// Dynamic or fixed.
    Any,
}

impl Reader<'_> {
    fn read(&self) -> Result<Interface> {
        use Dim::{Dynamic, Rows};
        let mut interface = Interface {
            ids: TensorElementType::Int64,
            mask: None,
            positions: None,
            use_cache_branch: false,
            logits_to_keep: None,
            caches: Vec::new(),
            one_row: false,
        };
        let mut has_ids = false;
        for input in self.session.inputs() {
            match input.name() {
                "input_ids" => {
                    has_ids = true;
                    let (element, shape) = self.integers(input)?;
                    self.dims(input, shape, &[Rows, Dynamic])?;
                    interface.ids = element;
                    interface.one_row |= shape.first() == Some(&1);
                }
                "attention_mask" => {
                    let (element, shape) = self.integers(input)?;
                    self.dims(input, shape, &[Rows, Dynamic])?;
                    interface.mask = Some(element);
                }
                "position_ids" => {
                    let (element, shape) = self.integers(input)?;
                    self.dims(input, shape, &[Rows, Dynamic])?;
                    interface.positions = Some(element);
                }
                "use_cache_branch" => {
                    let (element, _) = self.tensor(input)?;
                    self.require(element == TensorElementType::Bool, input, "is not of type bool")?;
                    interface.use_cache_branch = true;
                }
                "num_logits_to_keep" => {
                    let (element, shape) = self.integers(input)?;
                    self.require(shape.len() <= 1, input, "is not one number")?;
                    interface.logits_to_keep = Some((element, shape.len() == 1));
                }
                name => match name.strip_prefix("past_key_values.") {
                    Some(part) => {
                        interface.caches.push(self.cache(input, part)?);
                        interface.one_row |= self.tensor(input)?.1.first() == Some(&1);
                    }
                    None => return Err(self.error(format!("input `{name}` is no input of a decoder"))),
                },
            }
        }
        if !has_ids {
            return Err(self.error("input `input_ids` is missing".into()));
        }
        let Some(logits) = self.output("logits") else {
            return Err(self.error("output `logits` is missing".into()));
        };
        self.floats(logits)?;
        let (_, shape) = self.tensor(logits)?;
        self.dims(logits, shape, &[Dim::Any, Dim::Any, Dim::Any])?;
        Ok(interface)
    }

    fn cache(&self, input: &Outlet, part: &str) -> Result<CacheTensor> {
        use Dim::{Dynamic, Fixed, Rows};
        let element = self.floats(input)?;
        let (_, shape) = self.tensor(input)?;
        self.dims(input, shape, &[Rows, Fixed, Dynamic, Fixed])?;
        let names = ["present", "present_key_values"].map(|prefix| format!("{prefix}.{part}"));
        let present = names.iter().find_map(|name| self.output(name));
        let Some(present) = present else {
            return Err(self.error(format!(
                "output `{}` is missing, for input `{}`",
                names[0],
                input.name()
            )));
        };
        let (given, _) = self.tensor(present)?;
        self.require(given == element, present, &format!("is not of type {element}, as its input is"))?;
        Ok(CacheTensor {
            past: input.name().into(),
            present: present.name().into(),
            element,
            heads: shape[1] as usize,
            size: shape[3] as usize,
        })
    }

    fn output(&self, name: &str) -> Option<&Outlet> {
        self.session.outputs().iter().find(|output| output.name() == name)
    }

    fn tensor<'a>(&self, outlet: &'a Outlet) -> Result<(TensorElementType, &'a Shape)> {
        match outlet.dtype() {
            ValueType::Tensor { ty, shape, .. } => Ok((*ty, shape)),
            other => Err(self.error(format!("`{}` is {other}, not a tensor", outlet.name()))),
        }
    }

    fn integers<'a>(&self, outlet: &'a Outlet) -> Result<(TensorElementType, &'a Shape)> {
        let (element, shape) = self.tensor(outlet)?;
        let fits = matches!(element, TensorElementType::Int64 | TensorElementType::Int32);
        self.require(fits, outlet, &format!("is of type {element}, not i64 or i32"))?;
        Ok((element, shape))
    }

    fn floats(&self, outlet: &Outlet) -> Result<TensorElementType> {
        use TensorElementType::{Bfloat16, Float16, Float32};
        let (element, _) = self.tensor(outlet)?;
        let fits = matches!(element, Float32 | Float16 | Bfloat16);
        self.require(fits, outlet, &format!("is of type {element}, not f32, f16 or bf16"))?;
        Ok(element)
    }

    fn dims(&self, outlet: &Outlet, shape: &Shape, expected: &[Dim]) -> Result<()> {
        let rank = format!("has {} dimensions instead of {}", shape.len(), expected.len());
        self.require(shape.len() == expected.len(), outlet, &rank)?;
        for (axis, (&dim, expected)) in shape.iter().zip(expected).enumerate() {
            let wrong = match expected {
                Dim::Rows if dim != -1 && dim != 1 => "neither dynamic nor 1",
                Dim::Dynamic if dim != -1 => "not dynamic",
                Dim::Fixed if dim < 1 => "dynamic",
                _ => continue,
            };
            return Err(self.error(format!("`{}` has dimension {axis} of {dim}: {wrong}", outlet.name())));
        }
        Ok(())
    }

    fn require(&self, holds: bool, outlet: &Outlet, problem: &str) -> Result<()> {
        if holds { Ok(()) } else { Err(self.error(format!("`{}` {problem}", outlet.name()))) }
    }

    fn error(&self, problem: String) -> Error {
        let describe = |outlets: &[Outlet]| -> Vec<_> {
            outlets.iter().map(|outlet| format!("{} {}", outlet.name(), outlet.dtype())).collect()
        };
        Error::Interface {
            file: self.file.into(),
            problem,
            inputs: describe(self.session.inputs()),
            outputs: describe(self.session.outputs()),
            expected: EXPECTED,
        }
    }
}
