//! Models.
#![allow(unsafe_code)]

mod credits;
mod endings;
mod fragments;
mod memory;
mod parking;
mod storage;
