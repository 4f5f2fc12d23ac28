//! Unmasking (RFC 6455 §5.3), eight bytes at a time.
//!
//! Owns: one function. Never does: allocate. Talks to: nobody. Start reading at: [`unmask`].

/// XORs the payload with the key, in place.
pub(super) fn unmask(payload: &mut [u8], key: [u8; 4]) {
    let [a, b, c, d] = key;
    let wide = u64::from_ne_bytes([a, b, c, d, a, b, c, d]);
    let mut chunks = payload.chunks_exact_mut(8);
    for chunk in &mut chunks {
        if let Ok(bytes) = <[u8; 8]>::try_from(&*chunk) {
            chunk.copy_from_slice(&(u64::from_ne_bytes(bytes) ^ wide).to_ne_bytes());
        }
    }
    for (byte, key) in chunks.into_remainder().iter_mut().zip(key.iter().cycle()) {
        *byte ^= key;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wide_and_bytewise_unmasking_agree_at_every_length() {
        let key = [0x37, 0xfa, 0x21, 0x3d];
        for length in 0..40usize {
            let mut payload: Vec<u8> = (0..length as u8).collect();
            unmask(&mut payload, key);
            let expected: Vec<u8> = (0..length).map(|i| i as u8 ^ key[i % 4]).collect();
            assert_eq!(payload, expected);
        }
    }
}
