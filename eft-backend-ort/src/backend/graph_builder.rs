//! [`GraphBuilder`]: a graph under construction, operator by operator.
use ort::editor::{Graph, Model, Node, ONNX_DOMAIN, Opset};
use ort::operator::Attribute;
use ort::session::Session;
use ort::session::builder::SessionBuilder;
use ort::value::{Outlet, Shape, SymbolicDimensions, TensorElementType, ValueType};

/// The operator set. It is old enough for providers other than the processor's to have kernels.
const OPSET: u32 = 18;

/// A value in the graph: an input of the graph, or an output of an operator.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Var(usize);

/// The element types that these graphs compute with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Dtype {
    F32,
    F64,
    I64,
    U8,
    I32,
    Bool,
}

impl Dtype {
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

    /// The number of the type in the ONNX format (`TensorProto.DataType`).
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

/// The memory that an output is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Placement {
    /// The memory of the execution provider.
    Device,
    /// Main memory, for outputs that are read back.
    Host,
}

enum AttributeValue {
    Int(i64),
    Ints(Vec<i64>),
    Float(f32),
}

struct Op {
    name: &'static str,
    inputs: Vec<Var>,
    outputs: Vec<Var>,
    attributes: Vec<(&'static str, AttributeValue)>,
}

/// A graph under construction. Errors are reported only when it is compiled.
///
/// Operators broadcast as ONNX says: an operand of shape `(n, 1)` holds one number for each row.
#[derive(Default)]
pub(crate) struct GraphBuilder {
    inputs: Vec<(Var, TensorElementType, usize)>,
    outputs: Vec<(Var, TensorElementType, usize, Placement)>,
    ops: Vec<Op>,
    vars: usize,
}

impl GraphBuilder {
    fn var(&mut self) -> Var {
        self.vars += 1;
        Var(self.vars - 1)
    }

    /// Declares the next input of the graph. It has `rank` dimensions, all of them dynamic.
    pub(crate) fn input(&mut self, element: TensorElementType, rank: usize) -> Var {
        let var = self.var();
        self.inputs.push((var, element, rank));
        var
    }

    /// Declares the next input, of one of the types that graphs compute with.
    pub(crate) fn argument(&mut self, kind: Dtype, rank: usize) -> Var {
        self.input(kind.element(), rank)
    }

    /// Makes `var` the next output of the graph.
    pub(crate) fn output(&mut self, var: Var, kind: Dtype, rank: usize, placement: Placement) {
        self.output_as(var, kind.element(), rank, placement);
    }

    /// Makes `var` the next output of the graph, of any element type.
    pub(crate) fn output_as(
        &mut self,
        var: Var,
        element: TensorElementType,
        rank: usize,
        placement: Placement,
    ) {
        // An input of the graph cannot be an output too.
        let output = match self.inputs.iter().any(|(input, ..)| *input == var) {
            true => self.op("Identity", &[var]),
            false => var,
        };
        self.outputs.push((output, element, rank, placement));
    }

    fn push(
        &mut self,
        name: &'static str,
        inputs: &[Var],
        count: usize,
        attributes: Vec<(&'static str, AttributeValue)>,
    ) -> Vec<Var> {
        let outputs: Vec<_> = (0..count).map(|_| self.var()).collect();
        self.ops.push(Op { name, inputs: inputs.to_vec(), outputs: outputs.clone(), attributes });
        outputs
    }

    /// Adds an operator without attributes.
    pub(crate) fn op(&mut self, name: &'static str, inputs: &[Var]) -> Var {
        self.push(name, inputs, 1, Vec::new())[0]
    }

    /// Adds an operator with integer attributes.
    pub(crate) fn op_with(
        &mut self,
        name: &'static str,
        inputs: &[Var],
        attributes: &[(&'static str, i64)],
    ) -> Var {
        let attributes =
            attributes.iter().map(|(name, value)| (*name, AttributeValue::Int(*value))).collect();
        self.push(name, inputs, 1, attributes)[0]
    }

    /// A constant of no dimensions.
    pub(crate) fn float(&mut self, value: f32) -> Var {
        self.push("Constant", &[], 1, vec![("value_float", AttributeValue::Float(value))])[0]
    }

    /// An integer constant of no dimensions.
    pub(crate) fn integer(&mut self, value: usize) -> Var {
        self.push("Constant", &[], 1, vec![("value_int", AttributeValue::Int(value as i64))])[0]
    }

    /// A constant list of integers: a shape, axes or bounds.
    pub(crate) fn integer_list(&mut self, values: &[i64]) -> Var {
        self.push("Constant", &[], 1, vec![("value_ints", AttributeValue::Ints(values.to_vec()))])[0]
    }

    pub(crate) fn cast(&mut self, x: Var, kind: Dtype) -> Var {
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

    pub(crate) fn greater_or_equal(&mut self, a: Var, b: Var) -> Var {
        self.op("GreaterOrEqual", &[a, b])
    }

    pub(crate) fn less(&mut self, a: Var, b: Var) -> Var {
        self.op("Less", &[a, b])
    }

    pub(crate) fn and(&mut self, a: Var, b: Var) -> Var {
        self.op("And", &[a, b])
    }

    /// Elementwise: `yes` where `mask` is true, else `no`.
    pub(crate) fn where_cond(&mut self, mask: Var, yes: Var, no: Var) -> Var {
        self.op("Where", &[mask, yes, no])
    }

    /// The largest entry along the last dimension, which is kept with size 1.
    pub(crate) fn max(&mut self, x: Var) -> Var {
        self.reduce("ReduceMax", x)
    }

    /// The smallest entry along the last dimension, which is kept with size 1.
    pub(crate) fn min(&mut self, x: Var) -> Var {
        self.reduce("ReduceMin", x)
    }

    /// The sum along the last dimension, which is kept with size 1.
    pub(crate) fn sum(&mut self, x: Var) -> Var {
        self.reduce("ReduceSum", x)
    }

    fn reduce(&mut self, name: &'static str, x: Var) -> Var {
        let last = self.integer_list(&[-1]);
        self.op_with(name, &[x, last], &[("keepdims", 1)])
    }

    /// Cumulative sums along the second of two dimensions; if `exclusive`, each sum excludes its own entry.
    pub(crate) fn cumsum(&mut self, x: Var, exclusive: bool) -> Var {
        let last = self.integer(1);
        self.op_with("CumSum", &[x, last], &[("exclusive", exclusive.into())])
    }

    /// The `k` largest entries of each row and their indices, largest first; equal entries by index, lowest first.
    pub(crate) fn top_k(&mut self, x: Var, k: Var) -> (Var, Var) {
        let found = self.push("TopK", &[x, k], 2, vec![("axis", AttributeValue::Int(-1))]);
        (found[0], found[1])
    }

    /// Entries of the first dimension, by their indices.
    pub(crate) fn gather_rows(&mut self, x: Var, index: Var) -> Var {
        self.op_with("Gather", &[x, index], &[("axis", 0)])
    }

    /// The entries of each row at the columns `index`, `(n, m)`.
    pub(crate) fn gather_columns(&mut self, x: Var, index: Var) -> Var {
        self.op_with("GatherElements", &[x, index], &[("axis", 1)])
    }

    pub(crate) fn concat(&mut self, parts: &[Var]) -> Var {
        self.op_with("Concat", parts, &[("axis", 0)])
    }

    pub(crate) fn reshape(&mut self, x: Var, shape: &[i64]) -> Var {
        let shape = self.integer_list(shape);
        self.op("Reshape", &[x, shape])
    }

    /// The columns `start..end`.
    pub(crate) fn slice_columns(&mut self, x: Var, start: usize, end: usize) -> Var {
        let bounds = [start as i64, end as i64, -1].map(|bound| self.integer_list(&[bound]));
        self.op("Slice", &[x, bounds[0], bounds[1], bounds[2]])
    }

    /// The integers `0..count` as one row, `(1, count)`.
    pub(crate) fn range(&mut self, count: Var) -> Var {
        let (start, step) = (self.integer(0), self.integer(1));
        let numbers = self.op("Range", &[start, count, step]);
        self.reshape(numbers, &[1, -1])
    }

    /// Compiles the graph into a session.
    pub(crate) fn compile(self, builder: &SessionBuilder) -> ort::Result<Compiled> {
        let name = |var: &Var| format!("v{}", var.0);
        let mut graph = Graph::new()?;
        graph.set_inputs(self.inputs.iter().map(|(var, ty, rank)| outlet(name(var), *ty, *rank)))?;
        graph.set_outputs(self.outputs.iter().map(|(var, ty, rank, _)| outlet(name(var), *ty, *rank)))?;
        for (index, op) in self.ops.iter().enumerate() {
            let inputs: Vec<_> = op.inputs.iter().map(name).collect();
            let outputs: Vec<_> = op.outputs.iter().map(name).collect();
            let attributes = op.attributes.iter().map(|(name, value)| match value {
                AttributeValue::Int(value) => Attribute::new(name, *value),
                AttributeValue::Ints(values) => Attribute::new(name, &values[..]),
                AttributeValue::Float(value) => Attribute::new(name, *value),
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
            outputs: self.outputs.iter().map(|(var, _, _, placement)| (name(var), *placement)).collect(),
        })
    }
}

/// A session that runs a graph, with the names of the graph's inputs and outputs in the order of their declaration.
pub(crate) struct Compiled {
    pub(crate) session: Session,
    pub(crate) inputs: Vec<String>,
    pub(crate) outputs: Vec<(String, Placement)>,
}

fn outlet(name: String, ty: TensorElementType, rank: usize) -> Outlet {
    let dimension_symbols = SymbolicDimensions::empty(rank);
    Outlet::new(name, ValueType::Tensor { ty, shape: Shape::new(vec![-1; rank]), dimension_symbols })
}
