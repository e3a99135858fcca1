//! A reader of the pickles in PyTorch's checkpoints. A pickle is a program, which could do anything; this reader runs
//! only the few instructions that describe tensors, and refuses every other instruction and function by name.
use std::collections::HashMap;
use std::sync::Arc;

use safetensors::Dtype;

/// An object of a pickle.
#[derive(Debug, Clone)]
pub(super) enum Object {
    None,
    /// An integer, or a boolean as 0 or 1.
    Integer(i64),
    Float,
    Text(Arc<str>),
    /// A tuple, list or dictionary, by its index; of a dictionary, the keys and values alternate.
    Container(usize),
    Function(Function),
    StorageType(Dtype),
    Storage(Arc<Storage>),
    Tensor(Arc<Tensor>),
}

/// The memory of one or more tensors.
#[derive(Debug)]
pub(super) struct Storage {
    pub(super) dtype: Dtype,
    /// The name of the storage's file in the archive.
    pub(super) key: Arc<str>,
}

/// A view of a storage. Offset and strides are numbers of entries.
#[derive(Debug)]
pub(super) struct Tensor {
    pub(super) storage: Arc<Storage>,
    pub(super) offset: usize,
    pub(super) shape: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

/// The functions that a pickle may call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    OrderedDict,
    RebuildTensor,
    RebuildParameter,
}

/// The objects of a pickle.
pub(super) struct Pickle {
    containers: Vec<Vec<Object>>,
    top: Object,
}

impl Pickle {
    /// Returns the dictionary that the pickle holds, as pairs of keys and values.
    pub(super) fn entries(&self) -> Option<impl Iterator<Item = (&str, &Object)>> {
        self.pairs(&self.top)
    }

    /// Returns the pairs of a dictionary whose keys are texts.
    pub(super) fn pairs(&self, object: &Object) -> Option<impl Iterator<Item = (&str, &Object)>> {
        let Object::Container(index) = object else { return None };
        let pair = |pair: &'_ [Object; 2]| matches!(pair[0], Object::Text(_));
        let (pairs, rest) = self.containers[*index].as_chunks();
        (rest.is_empty() && pairs.iter().all(pair)).then(|| {
            pairs.iter().filter_map(|[key, value]| match key {
                Object::Text(key) => Some((key.as_ref(), value)),
                _ => None,
            })
        })
    }
}

/// Reads a pickle, or describes why it cannot be read. It may make at most `most` objects: a pickle takes one byte for
/// many a one that takes dozens in memory.
pub(super) fn read(bytes: &[u8], most: usize) -> Result<Pickle, String> {
    let mut machine = Machine { bytes, ..Machine::default() };
    loop {
        if machine.stack.len() + machine.memo.len() + machine.marks.len() + machine.contained > most {
            return Err("its pickle holds many more objects than its tensors need".into());
        }
        let code = machine.byte()?;
        if code == b'.' {
            let top = machine.pop()?;
            return Ok(Pickle { containers: machine.containers, top });
        }
        machine.run(code)?;
    }
}

/// The state of a pickle that is being read.
#[derive(Default)]
struct Machine<'a> {
    bytes: &'a [u8],
    stack: Vec<Object>,
    /// Lengths of the stack at open marks.
    marks: Vec<usize>,
    memo: HashMap<u32, Object>,
    containers: Vec<Vec<Object>>,
    /// The number of containers and of the objects in them.
    contained: usize,
}

const TRUNCATED: &str = "its pickle is truncated";
const MALFORMED: &str = "its pickle is malformed";

impl Machine<'_> {
    fn take(&mut self, length: usize) -> Result<&[u8], String> {
        let (taken, rest) = self.bytes.split_at_checked(length).ok_or(TRUNCATED)?;
        self.bytes = rest;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], String> {
        let (taken, rest) = self.bytes.split_first_chunk().ok_or(TRUNCATED)?;
        self.bytes = rest;
        Ok(*taken)
    }

    fn byte(&mut self) -> Result<u8, String> {
        self.array().map(|[byte]| byte)
    }

    fn line(&mut self) -> Result<String, String> {
        let end = self.bytes.iter().position(|byte| *byte == b'\n').ok_or(TRUNCATED)?;
        let line = String::from_utf8_lossy(self.take(end)?).into_owned();
        self.byte()?;
        Ok(line)
    }

    fn text(&mut self, length: usize) -> Result<Object, String> {
        let text = std::str::from_utf8(self.take(length)?).map_err(|_| MALFORMED)?;
        Ok(Object::Text(text.into()))
    }

    /// The last object of the stack, of those after the last open mark.
    fn pop(&mut self) -> Result<Object, String> {
        let above = self.marks.last().is_none_or(|mark| self.stack.len() > *mark);
        self.stack.pop().filter(|_| above).ok_or_else(|| MALFORMED.into())
    }

    /// The last `count` objects of the stack.
    fn pop_many(&mut self, count: usize) -> Result<Vec<Object>, String> {
        let mut objects = (0..count).map(|_| self.pop()).collect::<Result<Vec<_>, _>>()?;
        objects.reverse();
        Ok(objects)
    }

    /// The objects since the last mark, which is closed.
    fn pop_mark(&mut self) -> Result<Vec<Object>, String> {
        let mark = self.marks.pop().ok_or(MALFORMED)?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn push_container(&mut self, objects: Vec<Object>) {
        let container = self.container(objects);
        self.stack.push(container);
    }

    fn container(&mut self, objects: Vec<Object>) -> Object {
        self.contained += 1 + objects.len();
        self.containers.push(objects);
        Object::Container(self.containers.len() - 1)
    }

    /// Appends to the container that is the last object of the stack.
    fn extend(&mut self, objects: Vec<Object>) -> Result<(), String> {
        match self.stack.last() {
            Some(Object::Container(index)) => {
                self.contained += objects.len();
                self.containers[*index].extend(objects);
            }
            _ => return Err(MALFORMED.into()),
        }
        Ok(())
    }

    fn memorise(&mut self, key: u32) -> Result<(), String> {
        let last = self.stack.last().ok_or(MALFORMED)?.clone();
        self.memo.insert(key, last);
        Ok(())
    }

    fn recall(&mut self, key: u32) -> Result<(), String> {
        let object = self.memo.get(&key).ok_or(MALFORMED)?.clone();
        self.stack.push(object);
        Ok(())
    }

    /// Runs one instruction. The codes are those of Python's `pickletools`.
    fn run(&mut self, code: u8) -> Result<(), String> {
        match code {
            // PROTO
            0x80 => {
                self.byte()?;
            }
            b'(' => self.marks.push(self.stack.len()),
            b'N' => self.stack.push(Object::None),
            // NEWTRUE, NEWFALSE
            0x88 => self.stack.push(Object::Integer(1)),
            0x89 => self.stack.push(Object::Integer(0)),
            b'K' => {
                let [value] = self.array()?;
                self.stack.push(Object::Integer(value.into()));
            }
            b'M' => {
                let value = u16::from_le_bytes(self.array()?);
                self.stack.push(Object::Integer(value.into()));
            }
            b'J' => {
                let value = i32::from_le_bytes(self.array()?);
                self.stack.push(Object::Integer(value.into()));
            }
            // LONG1
            0x8a => {
                let length = self.byte()?.into();
                let bytes = self.take(length)?;
                let sign = if bytes.last().is_some_and(|byte| *byte >= 0x80) { 0xff } else { 0 };
                let mut wide = [sign; 8];
                wide.get_mut(..length).ok_or(MALFORMED)?.copy_from_slice(bytes);
                self.stack.push(Object::Integer(i64::from_le_bytes(wide)));
            }
            b'G' => {
                self.array::<8>()?;
                self.stack.push(Object::Float);
            }
            // BINUNICODE, BINSTRING, SHORT_BINSTRING
            b'X' | b'T' => {
                let length = u32::from_le_bytes(self.array()?) as usize;
                let text = self.text(length)?;
                self.stack.push(text);
            }
            b'U' => {
                let length = self.byte()?.into();
                let text = self.text(length)?;
                self.stack.push(text);
            }
            b')' | b']' | b'}' => self.push_container(Vec::new()),
            // TUPLE1, TUPLE2, TUPLE3
            0x85..=0x87 => {
                let objects = self.pop_many(usize::from(code - 0x84))?;
                self.push_container(objects);
            }
            // TUPLE, LIST, DICT
            b't' | b'l' | b'd' => {
                let objects = self.pop_mark()?;
                self.push_container(objects);
            }
            b'a' => {
                let objects = self.pop_many(1)?;
                self.extend(objects)?;
            }
            b's' => {
                let objects = self.pop_many(2)?;
                self.extend(objects)?;
            }
            b'e' | b'u' => {
                let objects = self.pop_mark()?;
                self.extend(objects)?;
            }
            b'q' => {
                let key = self.byte()?.into();
                self.memorise(key)?;
            }
            b'r' => {
                let key = u32::from_le_bytes(self.array()?);
                self.memorise(key)?;
            }
            b'h' => {
                let key = self.byte()?.into();
                self.recall(key)?;
            }
            b'j' => {
                let key = u32::from_le_bytes(self.array()?);
                self.recall(key)?;
            }
            b'c' => {
                let (module, name) = (self.line()?, self.line()?);
                self.stack.push(global(&module, &name)?);
            }
            // BINPERSID: a storage.
            b'Q' => {
                let id = self.pop()?;
                let storage = self.storage(&id)?;
                self.stack.push(storage);
            }
            b'R' => {
                let (arguments, function) = (self.pop()?, self.pop()?);
                let result = self.call(&function, &arguments)?;
                self.stack.push(result);
            }
            // BUILD sets attributes of the object before it. Those of dictionaries and tensors do not matter here.
            b'b' => {
                self.pop()?;
            }
            other => {
                return Err(format!("its pickle has the instruction {other:#04x}, which is not allowed"));
            }
        }
        Ok(())
    }

    fn objects(&self, object: &Object) -> Result<&[Object], String> {
        match object {
            Object::Container(index) => Ok(&self.containers[*index]),
            _ => Err(MALFORMED.into()),
        }
    }

    /// The storage of an identifier: `("storage", type, key, device, entries)`.
    fn storage(&self, id: &Object) -> Result<Object, String> {
        match self.objects(id)? {
            [Object::Text(kind), Object::StorageType(dtype), Object::Text(key), ..]
                if kind.as_ref() == "storage" =>
            {
                Ok(Object::Storage(Storage { dtype: *dtype, key: key.clone() }.into()))
            }
            _ => Err(MALFORMED.into()),
        }
    }

    fn sizes(&self, object: &Object) -> Result<Vec<usize>, String> {
        let size = |object: &Object| match object {
            Object::Integer(size) => usize::try_from(*size).ok(),
            _ => None,
        };
        self.objects(object)?.iter().map(size).collect::<Option<_>>().ok_or_else(|| MALFORMED.into())
    }

    fn call(&mut self, function: &Object, arguments: &Object) -> Result<Object, String> {
        let Object::Function(function) = function else { return Err(MALFORMED.into()) };
        match (function, self.objects(arguments)?) {
            (Function::OrderedDict, []) => Ok(self.container(Vec::new())),
            (
                Function::RebuildTensor,
                [Object::Storage(storage), Object::Integer(offset), shape, strides, ..],
            ) => {
                let (shape, strides) = (self.sizes(shape)?, self.sizes(strides)?);
                let offset = usize::try_from(*offset).map_err(|_| MALFORMED)?;
                Ok(Object::Tensor(Tensor { storage: storage.clone(), offset, shape, strides }.into()))
            }
            (Function::RebuildParameter, [tensor @ Object::Tensor(_), ..]) => Ok(tensor.clone()),
            _ => Err(MALFORMED.into()),
        }
    }
}

/// The object of a global name.
fn global(module: &str, name: &str) -> Result<Object, String> {
    let function = |function| Ok(Object::Function(function));
    match (module, name) {
        ("collections", "OrderedDict") => function(Function::OrderedDict),
        ("torch._utils", "_rebuild_tensor_v2") => function(Function::RebuildTensor),
        ("torch._utils", "_rebuild_parameter") => function(Function::RebuildParameter),
        ("torch", _) => {
            let dtype = match name {
                "FloatStorage" => Dtype::F32,
                "HalfStorage" => Dtype::F16,
                "BFloat16Storage" => Dtype::BF16,
                "DoubleStorage" => Dtype::F64,
                "LongStorage" => Dtype::I64,
                "IntStorage" => Dtype::I32,
                "ShortStorage" => Dtype::I16,
                "CharStorage" => Dtype::I8,
                "ByteStorage" => Dtype::U8,
                "BoolStorage" => Dtype::BOOL,
                _ => return Err(refused(module, name)),
            };
            Ok(Object::StorageType(dtype))
        }
        _ => Err(refused(module, name)),
    }
}

fn refused(module: &str, name: &str) -> String {
    format!("its pickle uses `{module}.{name}`, which is not allowed")
}
