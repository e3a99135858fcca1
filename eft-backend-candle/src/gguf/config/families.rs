//! The fields that only some families have.
use eft_models::{Error, Result};
use serde_json::{Map, Value, json};

use super::Reader;
use crate::gguf::metadata::whole;
use crate::gguf::value::Value as Field;

/// The field that says which layers have a sliding window: a list with an entry for each, or the distance between layers
/// without one.
const PATTERN: &str = "attention.sliding_window_pattern";

impl Reader<'_> {
    /// Adds the fields that only the family has.
    pub(super) fn family(&self, config: &mut Map<String, Value>) -> Result<()> {
        match self.architecture.name {
            "gemma2" | "gemma3" => self.gemma(config)?,
            "granite" => self.granite(config)?,
            "olmo2" => self.olmo(config)?,
            "command-r" if self.has("blk.0.attn_q_norm.weight") => {
                let (file, tensor) = (self.metadata.file.clone(), "blk.0.attn_q_norm.weight".into());
                let reason = "is a norm of queries, which is not supported in this family".into();
                return Err(Error::BadTensor { file, tensor, reason });
            }
            "cohere2" => self.layer_types(config)?,
            "gpt-oss" => self.gpt_oss(config)?,
            "starcoder2" => drop(config.insert("use_bias".into(), self.has("blk.0.attn_q.bias").into())),
            "gptneox" => self.neox(config)?,
            "falcon" => self.falcon(config),
            "qwen3moe" => {
                // llama.cpp divides the probabilities of the chosen experts by their sum in every model of this family.
                config.insert("norm_topk_prob".into(), true.into());
                let layers =
                    config.get("num_hidden_layers").and_then(Value::as_u64).unwrap_or(0).min(1 << 12);
                let dense =
                    (0..layers).filter(|layer| !self.has(&format!("blk.{layer}.ffn_gate_inp.weight")));
                config.insert("mlp_only_layers".into(), dense.collect::<Vec<_>>().into());
            }
            _ => {}
        }
        Ok(())
    }

    /// Adds the fields of Gemma 2 and 3. Where a file lacks a field, the default of llama.cpp applies.
    fn gemma(&self, config: &mut Map<String, Value>) -> Result<()> {
        let size = |name: &str| config.get(name).and_then(Value::as_u64).unwrap_or(0);
        let (layers, width) = (size("num_hidden_layers"), size("head_dim"));
        let second = self.architecture.name == "gemma2";
        // The two models of 27 billion parameters, recognised by their number of layers, scale attention by the square
        // root of hidden size over heads, all others by that of the head width.
        let large = layers == if second { 46 } else { 62 };
        let even = size("hidden_size").checked_div(size("num_attention_heads")).unwrap_or(width);
        config.insert("query_pre_attn_scalar".into(), if large { even } else { width }.into());
        if second {
            config.entry("sliding_window").or_insert(4096.into());
            config.entry("final_logit_softcapping").or_insert(30.0.into());
            let cap = self.number("attn_logit_softcapping")?.unwrap_or(50.0.into());
            config.insert("attn_logit_softcapping".into(), cap);
            return Ok(());
        }
        if !config.contains_key("sliding_window") {
            return Err(self.metadata.wrong(&self.key("attention.sliding_window"), "is missing"));
        }
        let local = self.number("rope.freq_base_swa")?.unwrap_or(10_000.0.into());
        config.insert("rope_local_base_freq".into(), local);
        self.layer_types(config)
    }

    /// Adds which layers have a sliding window, if the file says so.
    fn layer_types(&self, config: &mut Map<String, Value>) -> Result<()> {
        let key = self.key(PATTERN);
        let layers = config.get("num_hidden_layers").and_then(Value::as_u64).unwrap_or(0);
        let name = |slides: bool| if slides { "sliding_attention" } else { "full_attention" };
        let kinds: Vec<_> = match self.metadata.get(&key) {
            None => return Ok(()),
            Some(Field::List(_)) => {
                const EXPECTED: &str = "a boolean or a non-negative integer";
                let kind = |slides: &Field| match slides {
                    Field::Flag(slides) => Some(name(*slides)),
                    other => whole(other).map(|slides| name(slides > 0)),
                };
                let kinds = self.metadata.entries(&key, EXPECTED, kind)?.unwrap_or_default();
                if kinds.len() as u64 != layers {
                    return Err(self.metadata.wrong(&key, "does not have one entry for each layer"));
                }
                kinds
            }
            Some(_) => {
                let period = self.metadata.whole(&key)?.unwrap_or(0);
                if period == 0 {
                    return Err(self.metadata.wrong(&key, "is 0"));
                }
                (1..=layers.min(1 << 12)).map(|layer| name(layer % period != 0)).collect()
            }
        };
        config.insert("layer_types".into(), kinds.into());
        Ok(())
    }

    /// Every other layer has a sliding window, beginning with the first, unless the file says which.
    fn gpt_oss(&self, config: &mut Map<String, Value>) -> Result<()> {
        if let Some(width) = self.number("expert_feed_forward_length")? {
            config.insert("intermediate_size".into(), width);
        }
        // The defaults of the family are a window and a scaling of positions, those of llama.cpp are none.
        config.entry("sliding_window").or_insert(Value::Null);
        config.entry("rope_scaling").or_insert_with(|| json!({"rope_type": "default"}));
        self.layer_types(config)
    }

    fn granite(&self, config: &mut Map<String, Value>) -> Result<()> {
        const ROTATES: &str = "rope.scaling.finetuned";
        if matches!(self.metadata.get(&self.key(ROTATES)), Some(Field::Flag(false))) {
            let reason = "is false: models of this family without positions are not supported";
            return Err(self.metadata.wrong(&self.key(ROTATES), reason));
        }
        let width = config.get("head_dim").and_then(Value::as_f64).unwrap_or(1.0);
        for (field, usual) in [
            ("attention_multiplier", 1.0 / width.max(1.0).sqrt()),
            ("embedding_multiplier", 1.0),
            ("residual_multiplier", 1.0),
        ] {
            // llama.cpp takes a factor of 0 for none.
            if config.get(field).is_none_or(|factor| factor.as_f64() == Some(0.0)) {
                config.insert(field.into(), usual.into());
            }
        }
        Ok(())
    }

    /// Olmo 2 and 3 are one architecture. Olmo 3 is the one with sliding windows, in which positions are not scaled.
    fn olmo(&self, config: &mut Map<String, Value>) -> Result<()> {
        if !config.contains_key("sliding_window") {
            return Ok(());
        }
        config.insert("model_type".into(), "olmo3".into());
        let theta = config.get("rope_theta").cloned().unwrap_or(10_000.0.into());
        let local = self.number("rope.freq_base_swa")?.unwrap_or(theta.clone());
        let mut full = config.remove("rope_scaling").unwrap_or_else(|| json!({"rope_type": "default"}));
        full["rope_theta"] = theta;
        let sliding = json!({"rope_type": "default", "rope_theta": local});
        config.remove("rope_theta");
        let parameters = json!({"full_attention": full, "sliding_attention": sliding});
        config.insert("rope_parameters".into(), parameters);
        self.layer_types(config)
    }

    fn neox(&self, config: &mut Map<String, Value>) -> Result<()> {
        const PARALLEL: &str = "use_parallel_residual";
        let key = self.key(PARALLEL);
        if let Some(parallel) = self.metadata.flag(&key)? {
            config.insert(PARALLEL.into(), parallel.into());
        }
        config.insert("attention_bias".into(), self.has("blk.0.attn_qkv.bias").into());
        Ok(())
    }

    /// The converter arranges queries, keys and values in the same way for all models of the family, so the number of
    /// norms tells them apart.
    fn falcon(&self, config: &mut Map<String, Value>) {
        let two_norms = self.has("blk.0.attn_norm_2.weight");
        config.entry("num_kv_heads").or_insert(1.into());
        config.insert("new_decoder_architecture".into(), true.into());
        config.insert("num_ln_in_parallel_attn".into(), if two_norms { 2 } else { 1 }.into());
        config.insert("bias".into(), self.has("blk.0.attn_qkv.bias").into());
    }
}
