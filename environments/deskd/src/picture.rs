//! Screenshots: JPEG, small enough for a model's context and for a thumbnail.

use a8s_rfb::Framebuffer;
use jpeg_encoder::{ColorType, Encoder, EncodingError};

/// What a screenshot should not exceed.
pub const TARGET: usize = 150 * 1024;
/// From a picture that shows text well to one that is still recognisable.
const QUALITIES: [u8; 5] = [80, 65, 50, 35, 20];

/// Encodes at the best quality that fits into [`TARGET`], or at the lowest.
pub fn jpeg(picture: &Framebuffer) -> Result<Vec<u8>, EncodingError> {
    let mut out = Vec::new();
    for quality in QUALITIES {
        out.clear();
        let encoder = Encoder::new(&mut out, quality);
        encoder.encode(&picture.pixels, picture.width, picture.height, ColorType::Bgra)?;
        if out.len() <= TARGET {
            break;
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn even_a_noisy_desktop_becomes_a_small_jpeg() {
        let mut picture = Framebuffer::new(1280, 800);
        let mut seed = 7_u32;
        for pixel in picture.pixels.chunks_exact_mut(16) {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            pixel.fill(u8::try_from(seed >> 25).unwrap() + 90);
        }
        let jpeg = jpeg(&picture).unwrap();
        assert!(jpeg.starts_with(&[0xff, 0xd8]), "no JPEG");
        assert!(jpeg.len() <= TARGET, "{} bytes", jpeg.len());
    }
}
