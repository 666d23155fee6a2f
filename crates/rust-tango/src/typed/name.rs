//! [`TypeName`]: what a type is called in the links that carry it.

use alloc::borrow::Cow;
use alloc::format;

use super::bytes::assert_alignment;
use crate::memory::payload_type::PayloadType;

/// The name of a type of payloads, by which programs recognise it. It is the same in all programs that share a link.
///
/// By default it is the name of the type without its path: `Quote` for `my_crate::feed::Quote`. So the type may be
/// declared in several crates, and moved. State a name
///
/// - if the type has parameters: the name that the compiler gives such a type is not the same for ever;
/// - if programs in other languages use the link;
/// - when a field changes: nothing compares the fields, so a changed type needs a new name, such as `Quote.2`.
///
/// A name has 1 to 256 bytes, without characters that are not shown: see [`PayloadType::new`]. Numbers, and arrays of what has a
/// name, have one.
///
/// # Examples
///
/// ```
/// use std::borrow::Cow;
/// use rust_tango::{PayloadType, TypeName};
///
/// struct Quote(u64, u64);
/// impl TypeName for Quote {}
/// assert_eq!(PayloadType::of::<Quote>().to_string(), "Quote (16 bytes, alignment 8)");
///
/// struct Trade(u64, u32, u32);
/// impl TypeName for Trade {
///     fn type_name() -> Cow<'static, str> {
///         "exchange.Trade.2".into()
///     }
/// }
/// assert_eq!(PayloadType::of::<Trade>().name(), "exchange.Trade.2");
/// assert_eq!(PayloadType::of::<[f64; 4]>().name(), "[f64; 4]");
/// ```
pub trait TypeName {
    /// The name. See [`TypeName`] for an example.
    fn type_name() -> Cow<'static, str> {
        Cow::Borrowed(without_path(core::any::type_name::<Self>()))
    }
}

/// `Name<a::Parameter>` of `a::b::Name<a::Parameter>`. A type that is declared in a method has the type of that method in
/// its path: `<a::Type as b::Trait>::method::Name`.
fn without_path(name: &str) -> &str {
    let (mut depth, mut begin, mut previous) = (0_usize, 0, ' ');
    for (at, char) in name.char_indices() {
        match (previous, char) {
            (_, '<') => depth += 1,
            ('-', '>') => {} // of a function
            (_, '>') => depth = depth.saturating_sub(1),
            (':', ':') if depth == 0 => begin = at + 1,
            _ => {}
        }
        previous = char;
    }
    &name[begin..]
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl TypeName for $number {
            fn type_name() -> Cow<'static, str> {
                Cow::Borrowed(stringify!($number))
            }
        })*
    };
}

numbers!(u8 u16 u32 u64 u128 i8 i16 i32 i64 i128 f32 f64);

impl<T: TypeName, const N: usize> TypeName for [T; N] {
    fn type_name() -> Cow<'static, str> {
        Cow::Owned(format!("[{}; {N}]", T::type_name()))
    }
}

impl PayloadType {
    /// What a link remembers of this type. See [`TypeName`] for an example.
    pub fn of<T: TypeName>() -> Self {
        assert_alignment::<T>();
        Self::new(T::type_name(), size_of::<T>(), align_of::<T>())
    }
}

#[cfg(test)]
mod tests {
    use super::{Cow, TypeName, without_path};

    #[test]
    fn the_path_of_a_type_is_left_out_and_its_parameters_are_not() {
        let names = ["Quote", "a::Quote", "a::b::Quote", "a::Pair<u8, b::Quote>", "Pair<b::Quote>"];
        let expected = ["Quote", "Quote", "Quote", "Pair<u8, b::Quote>", "Pair<b::Quote>"];
        assert_eq!(names.map(without_path), expected);
        let names =
            ["<a::S as b::T<u8>>::f::Quote", "a::<impl a::S>::f::{{closure}}::Pair<fn() -> b::C, b::D>"];
        assert_eq!(names.map(without_path), ["Quote", "Pair<fn() -> b::C, b::D>"]);
    }

    /// The compiler's own names of types that are declared in methods.
    #[test]
    fn a_type_of_a_method_has_no_path() {
        trait Feed {
            fn name(&self) -> Cow<'static, str>;
        }
        impl Feed for u8 {
            fn name(&self) -> Cow<'static, str> {
                struct Quote;
                impl TypeName for Quote {}
                Quote::type_name()
            }
        }
        assert_eq!(0_u8.name(), "Quote");
    }
}
