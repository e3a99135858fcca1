//! [`Net`]: a small graph, written down operator by operator.
use ort::editor::{Graph, Model, Node, ONNX_DOMAIN, Opset};
use ort::operator::Attribute;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{Outlet, Shape, SymbolicDimensions, TensorElementType, ValueType};

/// Of the operators. Old enough for providers other than the processor to have kernels.
const OPSET: u32 = 18;

/// The output of an operator, or an input of the graph.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Var(usize);

/// Types that tensors within graphs have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    F32,
    F64,
    I64,
    U8,
    I32,
    Bool,
}

impl Kind {
    fn element(self) -> TensorElementType {
        match self {
            Self::F32 => TensorElementType::Float32,
            Self::F64 => TensorElementType::Float64,
            Self::I64 => TensorElementType::Int64,
            Self::U8 => TensorElementType::Uint8,
            Self::I32 => TensorElementType::Int32,
            Self::Bool => TensorElementType::Bool,
        }
    }

    /// By the numbers of the format: `TensorProto.DataType`.
    fn code(self) -> i64 {
        match self {
            Self::F32 => 1,
            Self::U8 => 2,
            Self::I32 => 6,
            Self::I64 => 7,
            Self::Bool => 9,
            Self::F64 => 11,
        }
    }
}

/// Where an output is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Place {
    /// Where the execution provider keeps its tensors.
    Device,
    /// In main memory: it was asked for.
    Host,
}

enum Value {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
}

struct Op {
    name: &'static str,
    inputs: Vec<Var>,
    outputs: Vec<Var>,
    attributes: Vec<(&'static str, Value)>,
}

/// A graph under construction. Nothing can fail before it is compiled.
#[derive(Default)]
pub(crate) struct Net {
    inputs: Vec<(Var, TensorElementType, usize)>,
    outputs: Vec<(Var, TensorElementType, usize, Place)>,
    ops: Vec<Op>,
    vars: usize,
}

impl Net {
    fn var(&mut self) -> Var {
        self.vars += 1;
        Var(self.vars - 1)
    }

    /// An input of the graph with so many dimensions, all of them dynamic.
    pub(crate) fn input(&mut self, element: TensorElementType, rank: usize) -> Var {
        let var = self.var();
        self.inputs.push((var, element, rank));
        var
    }

    /// An input of one of the types that graphs work with.
    pub(crate) fn argument(&mut self, kind: Kind, rank: usize) -> Var {
        self.input(kind.element(), rank)
    }

    /// Makes `var` the next output of the graph.
    pub(crate) fn output(&mut self, var: Var, kind: Kind, rank: usize, place: Place) {
        self.output_as(var, kind.element(), rank, place);
    }

    /// As [`output`](Self::output), of a type that only inputs have.
    pub(crate) fn output_as(&mut self, var: Var, element: TensorElementType, rank: usize, place: Place) {
        // An output of its own: an input of the graph cannot be one.
        let own = match self.inputs.iter().any(|(input, ..)| *input == var) {
            true => self.op("Identity", &[var]),
            false => var,
        };
        self.outputs.push((own, element, rank, place));
    }

    fn push(
        &mut self,
        name: &'static str,
        inputs: &[Var],
        count: usize,
        attributes: Vec<(&'static str, Value)>,
    ) -> Vec<Var> {
        let outputs: Vec<_> = (0..count).map(|_| self.var()).collect();
        self.ops.push(Op { name, inputs: inputs.to_vec(), outputs: outputs.clone(), attributes });
        outputs
    }

    /// An operator without attributes.
    pub(crate) fn op(&mut self, name: &'static str, inputs: &[Var]) -> Var {
        self.push(name, inputs, 1, Vec::new())[0]
    }

    /// An operator with attributes that are integers.
    pub(crate) fn op_with(
        &mut self,
        name: &'static str,
        inputs: &[Var],
        attributes: &[(&'static str, i64)],
    ) -> Var {
        let attributes = attributes.iter().map(|(name, value)| (*name, Value::Int(*value))).collect();
        self.push(name, inputs, 1, attributes)[0]
    }

    /// One number, which broadcasts.
    pub(crate) fn number(&mut self, value: f32) -> Var {
        self.push("Constant", &[], 1, vec![("value_float", Value::Float(value))])[0]
    }

    /// One integer, without dimensions.
    pub(crate) fn integer(&mut self, value: usize) -> Var {
        self.push("Constant", &[], 1, vec![("value_int", Value::Int(value as i64))])[0]
    }

    /// A list of integers: shapes, axes, bounds.
    pub(crate) fn integers(&mut self, values: &[i64]) -> Var {
        self.push("Constant", &[], 1, vec![("value_ints", Value::Ints(values.to_vec()))])[0]
    }

    pub(crate) fn cast(&mut self, x: Var, kind: Kind) -> Var {
        self.op_with("Cast", &[x], &[("to", kind.code())])
    }

    pub(crate) fn add(&mut self, a: Var, b: Var) -> Var {
        self.op("Add", &[a, b])
    }

    pub(crate) fn sub(&mut self, a: Var, b: Var) -> Var {
        self.op("Sub", &[a, b])
    }

    pub(crate) fn mul(&mut self, a: Var, b: Var) -> Var {
        self.op("Mul", &[a, b])
    }

    pub(crate) fn div(&mut self, a: Var, b: Var) -> Var {
        self.op("Div", &[a, b])
    }

    pub(crate) fn greater(&mut self, a: Var, b: Var) -> Var {
        self.op("Greater", &[a, b])
    }

    pub(crate) fn at_least(&mut self, a: Var, b: Var) -> Var {
        self.op("GreaterOrEqual", &[a, b])
    }

    pub(crate) fn less(&mut self, a: Var, b: Var) -> Var {
        self.op("Less", &[a, b])
    }

    pub(crate) fn and(&mut self, a: Var, b: Var) -> Var {
        self.op("And", &[a, b])
    }

    /// Elementwise: `yes` where `mask`, else `no`.
    pub(crate) fn choose(&mut self, mask: Var, yes: Var, no: Var) -> Var {
        self.op("Where", &[mask, yes, no])
    }

    /// Over the last dimension, which stays with one entry.
    pub(crate) fn max(&mut self, x: Var) -> Var {
        self.reduce("ReduceMax", x)
    }

    /// Over the last dimension, which stays with one entry.
    pub(crate) fn min(&mut self, x: Var) -> Var {
        self.reduce("ReduceMin", x)
    }

    /// Over the last dimension, which stays with one entry.
    pub(crate) fn sum(&mut self, x: Var) -> Var {
        self.reduce("ReduceSum", x)
    }

    fn reduce(&mut self, name: &'static str, x: Var) -> Var {
        let last = self.integers(&[-1]);
        self.op_with(name, &[x, last], &[("keepdims", 1)])
    }

    /// Running sums over the last of two dimensions; without the entry itself where `exclusive`.
    pub(crate) fn running_sum(&mut self, x: Var, exclusive: bool) -> Var {
        let last = self.integer(1);
        self.op_with("CumSum", &[x, last], &[("exclusive", exclusive.into())])
    }

    /// The first `k` of each row, highest first, equal ones by index, lowest first: values and indices.
    pub(crate) fn top(&mut self, x: Var, k: Var) -> (Var, Var) {
        let found = self.push("TopK", &[x, k], 2, vec![("axis", Value::Int(-1))]);
        (found[0], found[1])
    }

    /// Rows by their indices.
    pub(crate) fn rows(&mut self, x: Var, index: Var) -> Var {
        self.op_with("Gather", &[x, index], &[("axis", 0)])
    }

    /// Entries `index`, `(n, m)`, of each row.
    pub(crate) fn entries(&mut self, x: Var, index: Var) -> Var {
        self.op_with("GatherElements", &[x, index], &[("axis", 1)])
    }

    pub(crate) fn concat(&mut self, parts: &[Var]) -> Var {
        self.op_with("Concat", parts, &[("axis", 0)])
    }

    pub(crate) fn reshape(&mut self, x: Var, shape: &[i64]) -> Var {
        let shape = self.integers(shape);
        self.op("Reshape", &[x, shape])
    }

    /// The columns from `start` to before `end`.
    pub(crate) fn columns(&mut self, x: Var, start: usize, end: usize) -> Var {
        let bounds = [start as i64, end as i64, -1].map(|bound| self.integers(&[bound]));
        self.op("Slice", &[x, bounds[0], bounds[1], bounds[2]])
    }

    /// The integers below `count`, in one row.
    pub(crate) fn range(&mut self, count: Var) -> Var {
        let (start, step) = (self.integer(0), self.integer(1));
        let numbers = self.op("Range", &[start, count, step]);
        self.reshape(numbers, &[1, -1])
    }

    /// A session that runs the graph, with the names of its inputs, and its outputs with where they go.
    pub(crate) fn compile(self, builder: &SessionBuilder) -> ort::Result<Compiled> {
        let name = |var: &Var| format!("v{}", var.0);
        let mut graph = Graph::new()?;
        graph.set_inputs(self.inputs.iter().map(|(var, ty, rank)| outlet(name(var), *ty, *rank)))?;
        graph.set_outputs(self.outputs.iter().map(|(var, ty, rank, _)| outlet(name(var), *ty, *rank)))?;
        for (index, op) in self.ops.iter().enumerate() {
            let inputs: Vec<_> = op.inputs.iter().map(name).collect();
            let outputs: Vec<_> = op.outputs.iter().map(name).collect();
            let attributes = op.attributes.iter().map(|(name, value)| match value {
                Value::Int(value) => Attribute::new(name, *value),
                Value::Ints(values) => Attribute::new(name, &values[..]),
                Value::Float(value) => Attribute::new(name, *value),
            });
            let attributes = attributes.collect::<ort::Result<Vec<_>>>()?;
            graph.add_node(Node::new(
                op.name,
                ONNX_DOMAIN,
                format!("n{index}"),
                inputs,
                outputs,
                attributes,
            )?)?;
        }
        let mut model = Model::new([Opset::new(ONNX_DOMAIN, OPSET)?])?;
        model.set_graph(graph)?;
        Ok(Compiled {
            session: model.into_session(builder)?,
            inputs: self.inputs.iter().map(|(var, ..)| name(var)).collect(),
            outputs: self.outputs.iter().map(|(var, _, _, place)| (name(var), *place)).collect(),
        })
    }
}

/// A graph that can be run.
pub(crate) struct Compiled {
    pub(crate) session: Session,
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<(String, Place)>,
}

fn outlet(name: String, ty: TensorElementType, rank: usize) -> Outlet {
    let dimension_symbols = SymbolicDimensions::empty(rank);
    Outlet::new(name, ValueType::Tensor { ty, shape: Shape::new(vec![-1; rank]), dimension_symbols })
}
