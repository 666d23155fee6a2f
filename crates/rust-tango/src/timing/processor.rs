//! Which hints pay on which processor.

pub(crate) use crate::cpu::cache::{evicting_helps, is_near, writing_back_helps};
