//! Numbers as bytes that compare as the numbers do. Used by the "int" and the "tuple" codec.
//!
//! ```text
//! integer   0         40
//!           1..       40+n  magnitude (n bytes, big-endian, no leading zero)        n = 1..=48
//!                     71    length (4 bytes, big-endian)  magnitude                 longer ones
//!           negative  the bytes of its magnitude's encoding, mirrored: 40-n, or 0F; all bytes after it complemented
//! infinity  0E (minus), 72 (plus)
//! fraction  after the integer below the number: FF, then 7 bits a byte from the top, each byte shifted left by one,
//!           its lowest bit telling whether another follows
//! ```
//! Every byte that may follow an integer is below FF, so 1 < 1.5 < 2; and 1, 1.0 and True are the same bytes.

use std::fmt;

pub const ZERO: u8 = 0x40;
pub const MINUS_INFINITY: u8 = 0x0e;
pub const PLUS_INFINITY: u8 = 0x72;
pub const LOWEST: u8 = MINUS_INFINITY;
pub const HIGHEST: u8 = PLUS_INFINITY;
pub const FRACTION: u8 = 0xff;
/// Room for any integer of 64 bits, chosen so that `convert::Encoded` is no larger for it.
pub const SHORT: usize = 14;
const LONG: u8 = 0x71;
const LONG_NEGATIVE: u8 = 0x0f;
const LONGEST_IN_HEADER: usize = 48;

#[derive(Clone, Debug, PartialEq)]
pub enum Number {
    Small(i64),
    Big { negative: bool, magnitude: Vec<u8> },
    Real(f64),
}

#[derive(Debug)]
pub struct Malformed;

impl fmt::Display for Malformed {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("the stored bytes are not what this codec writes")
    }
}

/// The encoding of a small integer, without an allocation.
#[inline]
pub fn short(value: i64) -> ([u8; SHORT], u8) {
    let magnitude = value.unsigned_abs();
    let length = 8 - magnitude.leading_zeros() as usize / 8;
    let mirror = if value < 0 { 0xff } else { 0 };
    let mut bytes = [0; SHORT];
    bytes[0] = if value < 0 { ZERO - length as u8 } else { ZERO + length as u8 };
    let digits = magnitude.to_be_bytes();
    for (into, digit) in bytes[1..].iter_mut().zip(&digits[8 - length..]) {
        *into = digit ^ mirror;
    }
    (bytes, length as u8 + 1)
}

pub fn write_small(out: &mut Vec<u8>, value: i64) {
    let (bytes, length) = short(value);
    out.extend_from_slice(&bytes[..usize::from(length)]);
}

/// `magnitude`: big-endian, no leading zero.
pub fn write_big(out: &mut Vec<u8>, negative: bool, magnitude: &[u8]) {
    let mirror = if negative { 0xff } else { 0 };
    let length = magnitude.len();
    if length <= LONGEST_IN_HEADER {
        out.push(if negative { ZERO - length as u8 } else { ZERO + length as u8 });
    } else {
        out.push(if negative { LONG_NEGATIVE } else { LONG });
        out.extend((length as u32).to_be_bytes().map(|byte| byte ^ mirror));
    }
    out.extend(magnitude.iter().map(|byte| byte ^ mirror));
}

/// Writes any float but NaN, which has no place in an order.
pub fn write_real(out: &mut Vec<u8>, value: f64) -> Result<(), Malformed> {
    if value.is_nan() {
        return Err(Malformed);
    }
    if value.is_infinite() {
        out.push(if value < 0.0 { MINUS_INFINITY } else { PLUS_INFINITY });
        return Ok(());
    }
    if value.fract() == 0.0 {
        write_whole(out, value);
        return Ok(());
    }
    // Not whole, so below 2^53 and its floor fits an i64.
    write_small(out, value.floor() as i64);
    out.push(FRACTION);
    let mut digits = fraction_digits(value.abs().fract());
    if value < 0.0 {
        negate(&mut digits);
    }
    let last = digits.len() - 1;
    out.extend(digits.iter().enumerate().map(|(at, digit)| digit << 1 | u8::from(at < last)));
    Ok(())
}

fn write_whole(out: &mut Vec<u8>, value: f64) {
    if value.abs() < 9.0e18 {
        return write_small(out, value as i64);
    }
    let bits = value.abs().to_bits();
    let mantissa = bits & ((1 << 52) - 1) | 1 << 52;
    // value = mantissa << shift; at least 2^62 here, so the shift is positive.
    let shift = (bits >> 52) as usize - 1075;
    let mut digits = ((mantissa as u128) << (shift % 8)).to_be_bytes().to_vec();
    digits.resize(digits.len() + shift / 8, 0);
    let zeros = digits.iter().take_while(|digit| **digit == 0).count();
    write_big(out, value < 0.0, &digits[zeros..]);
}

/// The base-128 digits of 0 < fraction < 1 from the top, the last one not zero.
fn fraction_digits(mut fraction: f64) -> Vec<u8> {
    let mut digits = Vec::new();
    // Each step is exact: a multiplication by a power of two, and taking away the whole part.
    while fraction != 0.0 {
        fraction *= 128.0;
        digits.push(fraction as u8);
        fraction = fraction.fract();
    }
    digits
}

/// Digits of f to digits of 1 - f.
fn negate(digits: &mut [u8]) {
    let last = digits.len() - 1;
    for (at, digit) in digits.iter_mut().enumerate() {
        *digit = if at == last { 128 - *digit } else { 127 - *digit };
    }
}

/// Reads a number off the front of `bytes`; returns it and how many bytes it took.
pub fn read(bytes: &[u8]) -> Result<(Number, usize), Malformed> {
    let header = *bytes.first().ok_or(Malformed)?;
    if header == MINUS_INFINITY || header == PLUS_INFINITY {
        return Ok((Number::Real(if header == PLUS_INFINITY { f64::INFINITY } else { f64::NEG_INFINITY }), 1));
    }
    if !(LOWEST..=HIGHEST).contains(&header) {
        return Err(Malformed);
    }
    let negative = header < ZERO;
    let mirror = if negative { 0xff } else { 0 };
    let (length, start) = if header == LONG || header == LONG_NEGATIVE {
        let length: [u8; 4] = bytes.get(1..5).ok_or(Malformed)?.try_into().map_err(|_| Malformed)?;
        (u32::from_be_bytes(length.map(|byte| byte ^ mirror)) as usize, 5)
    } else {
        (usize::from(header.abs_diff(ZERO)), 1)
    };
    let digits = bytes.get(start..start + length).ok_or(Malformed)?;
    let end = start + length;
    let whole = match small(digits, negative) {
        Some(value) => value,
        None => {
            let magnitude = digits.iter().map(|byte| byte ^ mirror).collect();
            return Ok((Number::Big { negative, magnitude }, end));
        }
    };
    if bytes.get(end) != Some(&FRACTION) {
        return Ok((Number::Small(whole), end));
    }
    let run = bytes[end + 1..].iter().position(|byte| byte & 1 == 0).ok_or(Malformed)? + 1;
    let mut digits: Vec<u8> = bytes[end + 1..end + 1 + run].iter().map(|byte| byte >> 1).collect();
    if digits.last() == Some(&0) {
        return Err(Malformed);
    }
    let value = if negative {
        negate(&mut digits);
        -((-(whole + 1)) as f64 + fraction(&digits))
    } else {
        whole as f64 + fraction(&digits)
    };
    Ok((Number::Real(value), end + 1 + run))
}

/// From the lowest digit up, so that each sum is exact.
fn fraction(digits: &[u8]) -> f64 {
    digits.iter().rev().fold(0.0, |sum, digit| (sum + f64::from(*digit)) / 128.0)
}

#[inline]
fn small(digits: &[u8], negative: bool) -> Option<i64> {
    if digits.len() > 8 {
        return None;
    }
    let mut padded = if negative { [0xff; 8] } else { [0; 8] };
    padded[8 - digits.len()..].copy_from_slice(digits);
    let bits = u64::from_be_bytes(padded);
    if negative { 0i64.checked_sub_unsigned(!bits) } else { i64::try_from(bits).ok() }
}

/// The whole of `bytes` as one integer that fits an i64.
#[inline]
pub fn read_small(bytes: &[u8]) -> Option<i64> {
    let header = *bytes.first()?;
    let length = usize::from(header.abs_diff(ZERO));
    if length > 8 || bytes.len() != length + 1 {
        return None;
    }
    small(&bytes[1..], header < ZERO)
}
