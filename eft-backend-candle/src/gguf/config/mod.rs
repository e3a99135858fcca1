//! Translates the metadata of a GGUF file to the `config.json` that the model has on Hugging Face, and builds the
//! [`DecoderSpec`] from that.
mod architecture;
mod families;
mod positions;

use eft_models::{DecoderSpec, Error, Result};
use serde_json::{Map, Value};

use super::metadata::Metadata;
use super::tensors::Tensors;
use super::value::Value as Field;
pub(super) use architecture::Architecture;

/// Builds the spec of the model from the metadata, as its family defines it.
pub(super) fn spec(metadata: &Metadata, tensors: &Tensors) -> Result<(DecoderSpec, &'static Architecture)> {
    let name = metadata.required_text("general.architecture")?;
    let mixture = metadata.whole(&format!("{name}.expert_count"))?.is_some_and(|experts| experts > 0);
    let Some(architecture) = Architecture::named(name, mixture) else {
        let (file, found) = (metadata.file.clone(), name.into());
        return Err(Error::UnknownArchitecture { file, found, known: Architecture::names() });
    };
    let reader = Reader { metadata, architecture, tensors };
    if mixture && !architecture.is_mixture() {
        let reason = "is not 0: this architecture is not supported with a mixture of experts";
        return Err(metadata.wrong(&reader.key("expert_count"), reason));
    }
    // A layer costs memory as soon as it is described.
    const LAYERS: &str = "block_count";
    let (layers, tensors) = (metadata.whole(&reader.key(LAYERS))?.unwrap_or(0), tensors.count());
    if layers > tensors as u64 {
        let reason = format!("is {layers}, but the file has only {tensors} tensors");
        return Err(metadata.wrong(&reader.key(LAYERS), reason));
    }
    let config = reader.config()?;
    let spec = DecoderSpec::from_config(&metadata.file, &config);
    let mut spec = spec.map_err(|error| reader.renamed(error))?;
    reader.stretch(&mut spec)?;
    reader.grow(&mut spec)?;
    if let Some(scale) = metadata.number(&reader.key("attention.scale"))?.filter(|scale| *scale != 0.0) {
        spec.layers.iter_mut().for_each(|layer| layer.attention.scale = scale as f32);
    }
    Ok((spec, architecture))
}

/// Reads the metadata of one architecture.
struct Reader<'a> {
    metadata: &'a Metadata,
    architecture: &'static Architecture,
    tensors: &'a Tensors,
}

impl Reader<'_> {
    fn key(&self, field: &str) -> String {
        format!("{}.{field}", self.architecture.name)
    }

    fn has(&self, tensor: &str) -> bool {
        self.tensors.shape(tensor).is_some()
    }

    fn number(&self, field: &str) -> Result<Option<Value>> {
        let key = self.key(field);
        Ok(match self.metadata.get(&key) {
            None => None,
            Some(Field::Float(_)) => self.metadata.number(&key)?.map(Value::from),
            Some(_) => self.metadata.whole(&key)?.map(Value::from),
        })
    }

    fn config(&self) -> Result<Value> {
        let mut config = Map::new();
        for (hugging_face, gguf, required) in self.architecture.fields() {
            match self.number(gguf)? {
                // A window of 0 is none.
                Some(number) if *hugging_face == "sliding_window" && number == 0 => {}
                Some(number) => drop(config.insert((*hugging_face).into(), number)),
                None if *required => return Err(self.metadata.wrong(&self.key(gguf), "is missing")),
                None => {}
            }
        }
        let Some([vocab, _]) = self.tensors.shape("token_embd.weight") else {
            let (file, tensor) = (self.metadata.file.clone(), "token_embd.weight".into());
            return Err(Error::BadTensor { file, tensor, reason: "is missing, or is not a matrix".into() });
        };
        config.insert("model_type".into(), self.architecture.family.into());
        config.insert("vocab_size".into(), (*vocab).into());
        config.insert("tie_word_embeddings".into(), (!self.has("output.weight")).into());
        config.insert("attention_bias".into(), self.has("blk.0.attn_q.bias").into());
        config.insert("mlp_bias".into(), self.has("blk.0.ffn_up.bias").into());
        if self.architecture.family != "gpt2" {
            self.heads(&mut config)?;
            self.scaling(&mut config)?;
        }
        self.family(&mut config)?;
        Ok(Value::Object(config))
    }

    /// Adds the head width, and the share of its channels that rotary embedding rotates.
    fn heads(&self, config: &mut Map<String, Value>) -> Result<()> {
        let size = |name: &str| config.get(name).and_then(Value::as_u64).unwrap_or(0);
        let even = size("hidden_size").checked_div(size("num_attention_heads")).unwrap_or(0);
        let whole = |field: &str| self.metadata.whole(&self.key(field));
        let width = whole("attention.key_length")?.unwrap_or(even);
        let values = whole("attention.value_length")?.unwrap_or(width);
        if values != width {
            let reason =
                format!("is {values}, but keys have a width of {width}: different widths are not supported");
            return Err(self.metadata.wrong(&self.key("attention.value_length"), reason));
        }
        let rotated = whole("rope.dimension_count")?.unwrap_or(width);
        if rotated != width {
            // Only these families have heads of which a part rotates.
            let share = match self.architecture.family {
                "phi3" => Some("partial_rotary_factor"),
                "gpt_neox" => Some("rotary_pct"),
                _ => None,
            };
            let Some(share) = share.filter(|_| rotated < width) else {
                let reason = format!("is {rotated}, but heads have a width of {width}");
                return Err(self.metadata.wrong(&self.key("rope.dimension_count"), reason));
            };
            config.insert(share.into(), (rotated as f64 / width as f64).into());
        } else if self.architecture.family == "gpt_neox" {
            config.insert("rotary_pct".into(), 1.0.into());
        }
        if self.architecture.interleaved && width % 2 == 1 {
            let field = match whole("attention.key_length")? {
                Some(_) => "attention.key_length",
                None => "embedding_length",
            };
            let reason = format!("makes heads of a width of {width}; expected an even number");
            return Err(self.metadata.wrong(&self.key(field), reason));
        }
        config.insert("head_dim".into(), width.into());
        Ok(())
    }

    /// Replaces the field's Hugging Face name in an error by its name in the file.
    fn renamed(&self, error: Error) -> Error {
        match error {
            Error::Config { file, field, reason } => {
                let gguf = self.architecture.fields().find(|(hugging_face, ..)| *hugging_face == field);
                let gguf = gguf.map(|(_, gguf, _)| self.key(gguf));
                Error::Config { file, field: gguf.unwrap_or(field), reason }
            }
            other => other,
        }
    }
}
