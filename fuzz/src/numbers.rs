//! The package's encoding of numbers: they come back, and the bytes compare as the numbers do.

use std::cmp::Ordering;

use arbitrary::{Arbitrary, Unstructured};

// The bindings need an interpreter around them; this part of them does not.
#[allow(dead_code)]
#[path = "../../crates/python/src/number.rs"]
mod codec;

use codec::Number;

#[derive(Arbitrary, Clone, Debug)]
enum Input {
    Small(i64),
    Shifted(i64, u8),
    Big(bool, Vec<u8>),
    Real(f64),
    Half(i32),
}

impl Input {
    /// In the form that the bindings write: whatever fits 64 bits is small, magnitudes have no leading zero.
    fn number(&self) -> Option<Number> {
        Some(match self {
            Input::Small(value) => Number::Small(*value),
            Input::Shifted(value, by) => Number::Small(value >> (by % 64)),
            Input::Big(negative, magnitude) => {
                let zeros = magnitude.iter().take_while(|digit| **digit == 0).count();
                let magnitude = &magnitude[zeros..];
                let fits = magnitude.len() < 8 || magnitude.len() == 8 && magnitude[0] < 0x80;
                let lowest = *negative && magnitude.len() == 8 && magnitude[0] == 0x80;
                if fits || lowest {
                    return None;
                }
                Number::Big { negative: *negative, magnitude: magnitude.to_vec() }
            }
            Input::Real(value) if value.is_nan() => return None,
            Input::Real(value) => Number::Real(*value),
            Input::Half(value) => Number::Real(f64::from(*value) / 2.0),
        })
    }
}

fn encode(number: &Number) -> Vec<u8> {
    let mut bytes = Vec::new();
    match number {
        Number::Small(value) => codec::write_small(&mut bytes, *value),
        Number::Big { negative, magnitude } => codec::write_big(&mut bytes, *negative, magnitude),
        Number::Real(value) => codec::write_real(&mut bytes, *value).expect("it is no NaN"),
    }
    bytes
}

/// A number as its integer part, rounded down, and whether there is more: sign, magnitude, more.
fn parts(number: &Number) -> Option<(i8, Vec<u8>, bool)> {
    let whole = |negative: bool, bytes: &[u8], more| {
        let zeros = bytes.iter().take_while(|digit| **digit == 0).count();
        let magnitude = bytes[zeros..].to_vec();
        let sign = if magnitude.is_empty() { 0 } else { 1 - 2 * i8::from(negative) };
        (sign, magnitude, more)
    };
    Some(match number {
        Number::Small(value) => whole(*value < 0, &value.unsigned_abs().to_be_bytes(), false),
        Number::Big { negative, magnitude } => whole(*negative, magnitude, false),
        Number::Real(value) if value.is_infinite() => return None,
        Number::Real(value) => {
            let floor = value.floor();
            let bits = floor.abs().to_bits();
            // floor = mantissa * 2^exponent, the exponent below zero only if those bits are zero.
            let (mantissa, exponent) = (bits & ((1 << 52) - 1) | 1 << 52, (bits >> 52) as i32 - 1075);
            let mut digits = vec![0; 140];
            for bit in (0..53).filter(|bit| floor != 0.0 && mantissa >> bit & 1 == 1) {
                let at = (bit + exponent) as usize;
                digits[139 - at / 8] |= 1 << (at % 8);
            }
            whole(floor < 0.0, &digits, *value != floor)
        }
    })
}

/// Numbers as Python compares them: exactly, whatever their types.
fn compare(a: &Number, b: &Number) -> Ordering {
    if let (Number::Real(a), Number::Real(b)) = (a, b) {
        return a.partial_cmp(b).expect("no NaN");
    }
    let infinite = |number: &Number| match number {
        Number::Real(value) if value.is_infinite() => {
            if *value > 0.0 {
                1
            } else {
                -1
            }
        }
        _ => 0,
    };
    let (Some((sign, magnitude, more)), Some((other_sign, other_magnitude, other_more))) = (parts(a), parts(b)) else {
        return infinite(a).cmp(&infinite(b));
    };
    let larger = (magnitude.len(), &magnitude).cmp(&(other_magnitude.len(), &other_magnitude));
    let by_magnitude = if sign < 0 { larger.reverse() } else { larger };
    sign.cmp(&other_sign).then(by_magnitude).then(more.cmp(&other_more))
}

fn read_whole(bytes: &[u8]) -> Number {
    let (number, length) = codec::read(bytes).expect("what was written can be read");
    assert_eq!(length, bytes.len());
    number
}

/// Any bytes, and any two numbers.
pub fn numbers(input: &[u8]) {
    if let Ok((number, length)) = codec::read(input) {
        assert!(length <= input.len());
        let again = read_whole(&encode(&number));
        assert_eq!(compare(&again, &number), Ordering::Equal, "{number:?} {again:?}");
    }
    let Ok(pair) = <[Input; 2]>::arbitrary_take_rest(Unstructured::new(input)) else { return };
    let [Some(a), Some(b)] = pair.map(|input| input.number()) else { return };
    let (bytes_a, bytes_b) = (encode(&a), encode(&b));
    assert_eq!(bytes_a.cmp(&bytes_b), compare(&a, &b), "{a:?} {b:?}");
    assert_eq!(compare(&read_whole(&bytes_a), &a), Ordering::Equal, "{a:?}");
    if let Number::Small(value) = a {
        assert_eq!(codec::read_small(&bytes_a), Some(value));
    }
}
