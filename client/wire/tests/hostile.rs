//! Bytes made to do harm: cut short, with absurd counts and lengths in every position, or plain noise.
//! None may panic, and none may make the decoder allocate more than the input justifies. What is
//! allocated is counted by this test's own allocator.

#![allow(unsafe_code)] // A global allocator cannot be written without.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

use bytes::{BufMut, Bytes, BytesMut};
use logmill_wire::frame::RequestHeader;
use logmill_wire::samples::Sampled;
use logmill_wire::{ApiKey, DecodeErrorKind, Decoder, messages, records};

/// Counts what the current thread holds, and the most it held since the last reset.
struct Counting;

thread_local! {
    static HELD: Cell<isize> = const { Cell::new(0) };
    static PEAK: Cell<isize> = const { Cell::new(0) };
}

fn account(bytes: isize) {
    HELD.set(HELD.get() + bytes);
    PEAK.set(PEAK.get().max(HELD.get()));
}

// SAFETY: hands everything through to the system's allocator; the counters allocate nothing.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        account(layout.size() as isize);
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        account(-(layout.size() as isize));
        unsafe { System.dealloc(memory, layout) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// The most memory that `work` held at once beyond what was held before.
fn peak_of<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    PEAK.set(before);
    let result = work();
    (result, (PEAK.get() - before) as usize)
}

/// What decoding may hold at once: no structure is more than 64 times larger than the fewest bytes it
/// takes on the wire, and an error is small.
fn justified(input: usize) -> usize {
    64 * input + 1024
}

fn everything() -> impl Iterator<Item = &'static Sampled> {
    messages::ALL.iter().chain(records::ALL)
}

/// Decodes, checks the memory, and says whether the input was taken for a message.
fn decode(message: &Sampled, input: &[u8], version: i16) -> bool {
    let bytes = Bytes::copy_from_slice(input);
    let (result, peak) = peak_of(|| (message.decode)(bytes, version));
    assert!(
        peak <= justified(input.len()),
        "{} v{version}: {peak} bytes for an input of {}: {result:?}\n{input:02x?}",
        message.name,
        input.len()
    );
    result.is_ok()
}

/// A sample short enough to be mangled at every position.
fn small_sample(message: &Sampled, version: i16) -> Bytes {
    (0..100)
        .map(|seed| (message.sample)(seed, version))
        .filter(|bytes| bytes.len() < 150)
        .max_by_key(Bytes::len)
        .expect("one of 100 samples is small")
}

#[test]
fn cut_anywhere_is_an_error() {
    for message in everything() {
        for version in message.versions() {
            let bytes = small_sample(message, version);
            assert!(decode(message, &bytes, version), "{} v{version}", message.name);
            for length in 0..bytes.len() {
                assert!(!decode(message, &bytes[..length], version), "{} v{version} {length}", message.name);
            }
            let longer = [&bytes[..], &[0]].concat();
            assert!(!decode(message, &longer, version), "{} v{version}: a byte behind", message.name);
        }
    }
}

#[test]
fn absurd_counts_and_lengths_cost_nothing() {
    let absurd: [&[u8]; 8] = [
        &[0x7f, 0xff, 0xff, 0xff],                                     // 2^31 - 1
        &[0x80, 0x00, 0x00, 0x00],                                     // -2^31
        &[0xff, 0xff, 0xff, 0xfe],                                     // -2
        &[0x7f, 0xff],                                                 // 2^15 - 1
        &[0xff, 0xff, 0xff, 0xff, 0x0f],                               // varint 2^32 - 1
        &[0x80, 0x80, 0x80, 0x80, 0x08],                               // varint 2^31
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01], // a varint of 64 bits
        &[0xff; 16],
    ];
    for message in everything() {
        for version in message.versions() {
            let bytes = small_sample(message, version);
            for position in 0..bytes.len() {
                for mean in absurd {
                    let mut mangled = bytes.to_vec();
                    let end = bytes.len().min(position + mean.len());
                    mangled[position..end].copy_from_slice(&mean[..end - position]);
                    decode(message, &mangled, version);
                    // In place of one byte, for compact lengths, and as the last that comes.
                    let inserted = [&bytes[..position], mean, &bytes[position + 1..]].concat();
                    decode(message, &inserted, version);
                    decode(message, &inserted[..position + mean.len()], version);
                }
            }
        }
    }
}

#[test]
fn noise_is_read_without_panic() {
    let mut state = 1u64;
    let mut random = move || {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as u8
    };
    for message in everything() {
        for version in message.versions() {
            for length in 0..150 {
                // Every other time with few ones, which looks like small counts and leads deeper.
                let sparse = length % 2 == 0;
                let noise: Vec<u8> = (0..length)
                    .map(|_| if sparse { random() & random() & random() } else { random() })
                    .collect();
                decode(message, &noise, version);
            }
        }
    }
}

/// Elements as small as the schema allows, in a frame of megabytes: the one thing that the check
/// against the remaining bytes lets through. The memory budget must stop it.
#[test]
fn many_tiny_elements_stay_within_the_budget() {
    let metadata = messages::ALL.iter().find(|message| message.name == "MetadataRequest").unwrap();
    let count = 8_000_000u32;
    let mut frame = BytesMut::new();
    frame.put_u32(count);
    frame.put_bytes(0, 2 * count as usize); // Each an empty name.
    frame.put_u8(1);
    let frame = frame.freeze();
    let allowed = 16 * frame.len() + (1 << 20);
    let (result, peak) = peak_of(|| (metadata.decode)(frame, 4));
    assert!(matches!(result.unwrap_err().kind, DecodeErrorKind::Memory(limit) if limit == allowed));
    assert!(peak < 1024, "{peak}");
}

#[test]
fn four_hostile_bytes_as_metadata_request() {
    let metadata = messages::ALL.iter().find(|message| message.name == "MetadataRequest").unwrap();
    let (result, peak) = peak_of(|| (metadata.decode)(Bytes::from_static(&[0x7f, 0xff, 0xff, 0xff]), 1));
    let error = result.unwrap_err();
    assert_eq!(error.field, "MetadataRequest.topics");
    assert!(matches!(error.kind, DecodeErrorKind::Count { count: 0x7fff_ffff, remaining: 0, .. }), "{error}");
    assert!(peak < 1024, "{peak}");
}

#[test]
fn headers_of_noise() {
    for key in -1..120i16 {
        for version in [-1, 0, 3, 12, i16::MAX] {
            for tail in [&[][..], &[0xff, 0xff], &[0x7f, 0xff], &[0, 1, b'x', 0xff, 0xff, 0xff, 0xff, 0x0f]] {
                let mut frame = BytesMut::new();
                frame.put_i16(key);
                frame.put_i16(version);
                frame.put_i32(7);
                frame.put_slice(tail);
                let mut decoder = Decoder::new(frame.freeze());
                let (header, peak) = peak_of(|| RequestHeader::decode(&mut decoder));
                assert!(peak < 1024, "{peak}");
                match header {
                    Ok(header) => assert!(ApiKey::from_code(header.api_key).is_some()),
                    Err(error) if ApiKey::from_code(key).is_none() => {
                        assert_eq!(error.kind, DecodeErrorKind::UnknownApiKey(key));
                    }
                    Err(_) => {}
                }
            }
        }
    }
}
