//! A LoRA adapter with arbitrary weights.
use eft::models::Weights;

const RANK: usize = 8;

/// Writes an adapter of every linear layer of a model.
pub(crate) fn adapter(model: &dyn Weights) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let (mut header, mut length) = (serde_json::Map::new(), 0);
    for linear in model.spec().linears() {
        for (part, shape) in [("A", [RANK, linear.inputs]), ("B", [linear.outputs, RANK])] {
            let end = length + 4 * shape[0] * shape[1];
            let entry = serde_json::json!({"dtype": "F32", "shape": shape, "data_offsets": [length, end]});
            header.insert(format!("base_model.model.{}.lora_{part}.weight", linear.name), entry);
            length = end;
        }
    }
    let header = serde_json::to_vec(&header).unwrap();
    let mut bytes = (header.len() as u64).to_le_bytes().to_vec();
    bytes.extend(header);
    bytes.extend((0..length / 4).flat_map(|i| ((i * 7 % 13) as f32 * 1e-3 - 6e-3).to_le_bytes()));
    std::fs::write(folder.path().join("adapter_model.safetensors"), bytes).unwrap();
    let config = serde_json::json!({"peft_type": "LORA", "r": RANK, "lora_alpha": 16});
    std::fs::write(folder.path().join("adapter_config.json"), config.to_string()).unwrap();
    folder
}
