//! Options of a new link and of its ends, as keyword arguments.

use std::path::PathBuf;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use rust_tango::{Link, LinkBuilder, PayloadType, Start, Wait};

/// The builder for these options. `None` as a value stands for the default.
///
/// `named`: the link gets a name, and may have the options of files.
pub(crate) fn builder(options: Option<&Bound<'_, PyDict>>, named: bool) -> PyResult<LinkBuilder> {
    let mut builder = Link::builder();
    for (key, value) in options.into_iter().flatten() {
        let key: String = key.extract()?;
        if value.is_none() {
            check(&key, named)?;
            continue;
        }
        builder = match key.as_str() {
            "depth" => builder.depth(value.extract()?),
            "mtu" => builder.mtu(value.extract()?),
            "consumers" => builder.consumers(value.extract()?),
            "observers" => builder.observers(value.extract()?),
            "slot" => builder.slot(value.extract()?),
            "region" => builder.region(value.extract()?),
            "credits" => builder.credits(value.extract()?),
            "start" => builder.start(value.extract()?),
            "prefault" => builder.prefault(value.extract()?),
            "payload_type" => {
                let (name, size, align): (String, usize, usize) = value.extract()?;
                builder.payload_type(PayloadType::new(name, size, align))
            }
            "dir" if named => builder.dir(value.extract::<PathBuf>()?),
            "mode" if named => builder.mode(value.extract()?),
            "consumer_group" if named => builder.consumer_group(value.extract()?),
            "remove_on_drop" if named => builder.remove_on_drop(value.extract()?),
            _ => return Err(unknown(&key)),
        }
    }
    Ok(builder)
}

const OF_ALL: [&str; 10] = [
    "depth",
    "mtu",
    "consumers",
    "observers",
    "slot",
    "region",
    "credits",
    "start",
    "prefault",
    "payload_type",
];
const OF_NAMED: [&str; 4] = ["dir", "mode", "consumer_group", "remove_on_drop"];

fn check(key: &str, named: bool) -> PyResult<()> {
    if OF_ALL.contains(&key) || named && OF_NAMED.contains(&key) { Ok(()) } else { Err(unknown(key)) }
}

fn unknown(key: &str) -> PyErr {
    PyTypeError::new_err(format!("a link of this kind has no option {key:?}"))
}

/// How an end waits.
pub(crate) fn wait(how: &str) -> PyResult<Wait> {
    match how {
        "park" => Ok(Wait::Park),
        "yield" => Ok(Wait::Yield),
        "spin" => Ok(Wait::Spin),
        _ => Err(PyValueError::new_err(format!("wait is \"park\", \"yield\" or \"spin\", and not {how:?}"))),
    }
}

/// Where a reader starts: "next", "oldest", or a sequence number.
pub(crate) fn start(from: Option<&Bound<'_, PyAny>>) -> PyResult<Start> {
    let Some(from) = from else { return Ok(Start::Next) };
    if let Ok(seq) = from.extract::<u64>() {
        return Ok(Start::At(seq));
    }
    match from.extract::<String>().as_deref() {
        Ok("next") => Ok(Start::Next),
        Ok("oldest") => Ok(Start::Oldest),
        _ => Err(PyValueError::new_err("start is \"next\", \"oldest\" or a sequence number")),
    }
}
