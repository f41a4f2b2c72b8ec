//! What expressions say of devices.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use k8s_openapi::api::resource::v1::DeviceAttribute;
use orchestra_cel::{Declared, Environment, Key, Map, Object, Program, Scope, Type, Value};

use crate::view::{DeviceView, Said};

/// What one evaluation may cost, and how much the checker may take for granted, as upstream has it.
const MOST_COST: u64 = 1_000_000;
const MOST_ENTRIES: u64 = 32;
const LONGEST_TEXT: u64 = 64;
const LONGEST_DRIVER: u64 = 63;
/// As many expressions are kept ready.
const KEPT: usize = 1024;

type Compiled = Arc<Result<Program, String>>;

/// Reads expressions about a `device`, each once.
#[derive(Debug)]
pub(crate) struct Selectors {
    environment: Environment,
    library: Environment,
    ready: Mutex<HashMap<Arc<str>, Compiled>>,
}

impl Default for Selectors {
    fn default() -> Self {
        let text = |longest| Declared::simple(Type::String, longest, 2);
        let domains = |of: Declared| Declared::map(Declared::map(of, MOST_ENTRIES), MOST_ENTRIES);
        let quantity = Declared::simple(Type::Opaque("kubernetes.Quantity".into()), LONGEST_TEXT, 2);
        let fields = BTreeMap::from([
            ("driver".to_owned(), text(LONGEST_DRIVER)),
            ("attributes".to_owned(), domains(Declared::simple(Type::Dyn, LONGEST_TEXT, 2))),
            ("capacity".to_owned(), domains(quantity)),
            ("allowMultipleAllocations".to_owned(), Declared::simple(Type::Bool, 1, 4)),
        ]);
        let device = Object { name: "kubernetes.DRADevice".to_owned(), fields, ..Object::default() };
        Self {
            environment: Environment::new().variable("device", Declared::object(device, 2)),
            library: Environment::new().variable("text", text(LONGEST_TEXT)),
            ready: Mutex::default(),
        }
    }
}

impl Selectors {
    /// Whether an expression is true of a device.
    pub(crate) fn select(&self, expression: &str, driver: &str, device: &DeviceView) -> Said {
        let expression: Arc<str> = expression.into();
        device.memory.recall(&expression, || {
            let program = self.ready(&expression);
            let program = match &*program {
                Ok(program) => program,
                Err(error) => return Err(format!("CEL compile error: {error}").into()),
            };
            let subject = self.subject(driver, device)?;
            match program.evaluate(&subject, MOST_COST).result {
                Ok(Value::Bool(selected)) => Ok(selected),
                Ok(_) => Err("CEL result could not be converted to bool".into()),
                Err(fault) => Err(format!("CEL runtime error: {fault}").into()),
            }
        })
    }

    fn ready(&self, expression: &Arc<str>) -> Compiled {
        let mut ready = self.ready.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(program) = ready.get(expression) {
            return program.clone();
        }
        let compiled = match self.environment.compile(expression) {
            Ok(program) if matches!(program.ty(), Type::Bool | Type::Dyn) => Ok(program),
            Ok(program) => Err(format!("must evaluate to bool or the unknown type, not {}", program.ty())),
            Err(error) => Err(format!("compilation failed: {error}")),
        };
        if ready.len() >= KEPT {
            ready.clear();
        }
        let compiled = Arc::new(compiled);
        ready.insert(expression.clone(), compiled.clone());
        compiled
    }

    fn subject(&self, driver: &str, device: &DeviceView) -> Result<Subject, Arc<str>> {
        let device = &device.device;
        let mut attributes = Domains::new(driver);
        for (name, attribute) in device.attributes.iter().flatten() {
            let value = self.attribute(attribute).map_err(|error| format!("attribute {name}: {error}"))?;
            attributes.add(name, value);
        }
        let mut capacity = Domains::new(driver);
        for (name, amount) in device.capacity.iter().flatten() {
            let value = self.call("quantity(text)", &amount.value.0);
            capacity.add(name, value.map_err(|error| format!("capacity {name}: {error}"))?);
        }
        let (attributes, capacity) = (attributes.into_map(), capacity.into_map());
        let fields = [
            ("driver", Value::String(Arc::new(driver.to_owned()))),
            ("attributes", Value::Map(attributes.clone())),
            ("capacity", Value::Map(capacity.clone())),
            ("allowMultipleAllocations", Value::Bool(device.allow_multiple_allocations == Some(true))),
        ];
        Ok(Subject { device: Value::Map(map(fields.into_iter())), attributes, capacity })
    }

    fn attribute(&self, attribute: &DeviceAttribute) -> Result<Value, String> {
        match attribute {
            DeviceAttribute { int: Some(number), .. } => Ok(Value::Int(*number)),
            DeviceAttribute { bool: Some(flag), .. } => Ok(Value::Bool(*flag)),
            DeviceAttribute { string: Some(text), .. } => Ok(Value::String(Arc::new(text.clone()))),
            DeviceAttribute { version: Some(text), .. } => {
                self.call("semver(text)", text).map_err(|error| format!("parse semantic version: {error}"))
            }
            _ => Err("unsupported attribute value".to_owned()),
        }
    }

    /// What a function of the library makes of a text.
    fn call(&self, expression: &str, text: &str) -> Result<Value, String> {
        struct Text(Value);
        impl Scope for Text {
            fn get(&self, name: &str) -> Option<Value> {
                (name == "text").then(|| self.0.clone())
            }
        }
        let program = self.library.compile(expression).map_err(|error| error.to_string())?;
        let scope = Text(Value::String(Arc::new(text.to_owned())));
        program.evaluate(&scope, MOST_COST).result.map_err(|fault| fault.to_string())
    }
}

fn map<'a>(entries: impl Iterator<Item = (&'a str, Value)>) -> Map {
    let entries = entries.map(|(key, value)| (Key::String(Arc::new(key.to_owned())), value));
    Map { map: Arc::new(entries.collect()) }
}

/// A qualified name, with the driver's in the place of a domain that is left out.
pub(super) fn qualified<'a>(name: &'a str, driver: &'a str) -> (&'a str, &'a str) {
    name.split_once('/').unwrap_or((driver, name))
}

/// Values by domain and name.
struct Domains<'a> {
    driver: &'a str,
    found: BTreeMap<&'a str, Vec<(&'a str, Value)>>,
}

impl<'a> Domains<'a> {
    fn new(driver: &'a str) -> Self {
        Self { driver, found: BTreeMap::new() }
    }

    fn add(&mut self, name: &'a str, value: Value) {
        let (domain, name) = qualified(name, self.driver);
        self.found.entry(domain).or_default().push((name, value));
    }

    fn into_map(self) -> Map {
        map(self.found.into_iter().map(|(domain, values)| (domain, Value::Map(map(values.into_iter())))))
    }
}

/// The device an expression is about.
struct Subject {
    device: Value,
    attributes: Map,
    capacity: Map,
}

impl Scope for Subject {
    fn get(&self, name: &str) -> Option<Value> {
        (name == "device").then(|| self.device.clone())
    }

    fn absent(&self, within: &Map, _: &str) -> Option<Value> {
        // A domain of which the device says nothing is one without names.
        let domains = [&self.attributes, &self.capacity];
        let known = domains.iter().any(|map| Arc::ptr_eq(&map.map, &within.map));
        known.then(|| Value::Map(map(std::iter::empty())))
    }
}
