//! Screenshots: JPEG, small enough for a model's context and for a thumbnail.

use a8s_rfb::Framebuffer;
use jpeg_encoder::{ColorType, Encoder, EncodingError};

/// What a screenshot should not exceed.
pub const TARGET: usize = 150 * 1024;
/// From a picture that shows text well to one that is still recognisable.
const QUALITIES: [u8; 8] = [80, 65, 50, 35, 20, 10, 4, 1];

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

/// The part at `x`, `y` of this width and height, enlarged by the whole number with which it still fits into the size of the picture.
/// Repeating pixels adds nothing that was not there, and keeps text sharp.
pub fn enlarged(picture: &Framebuffer, [x, y, w, h]: [u16; 4]) -> Framebuffer {
    let w = w.min(picture.width.saturating_sub(x)).max(1);
    let h = h.min(picture.height.saturating_sub(y)).max(1);
    let times = (picture.width / w).min(picture.height / h).max(1);
    let mut out = Framebuffer::new(w * times, h * times);
    let stride = usize::from(out.width) * 4;
    for (row, line) in out.pixels.chunks_exact_mut(stride).enumerate() {
        let from = usize::from(y) + row / usize::from(times);
        let start = (from * usize::from(picture.width) + usize::from(x)) * 4;
        let Some(source) = picture.pixels.get(start..start + usize::from(w) * 4) else { break };
        for (block, pixel) in line.chunks_exact_mut(usize::from(times) * 4).zip(source.chunks_exact(4)) {
            block.chunks_exact_mut(4).for_each(|place| place.copy_from_slice(pixel));
        }
    }
    out
}

/// The picture reduced to this width, if it is wider; each pixel is the mean of those that it stands for.
pub fn reduced(picture: &Framebuffer, width: u16) -> Framebuffer {
    let (w, h) = (usize::from(picture.width), usize::from(picture.height));
    if width == 0 || width >= picture.width {
        return picture.clone();
    }
    let height = (h * usize::from(width) / w).max(1);
    let mut out = Framebuffer::new(width, u16::try_from(height).unwrap_or(u16::MAX));
    let stride = usize::from(width) * 4;
    for (row, line) in out.pixels.chunks_exact_mut(stride).enumerate() {
        let rows = row * h / height..((row + 1) * h / height).max(row * h / height + 1);
        for (column, pixel) in line.chunks_exact_mut(4).enumerate() {
            let from = column * w / usize::from(width);
            let columns = from..((column + 1) * w / usize::from(width)).max(from + 1);
            let count = u32::try_from(rows.len() * columns.len()).unwrap_or(u32::MAX);
            for (part, value) in pixel.iter_mut().enumerate() {
                let cells = rows.clone().flat_map(|y| columns.clone().map(move |x| (y * w + x) * 4 + part));
                let sum: u32 =
                    cells.filter_map(|at| picture.pixels.get(at)).map(|byte| u32::from(*byte)).sum();
                *value = u8::try_from(sum / count).unwrap_or(u8::MAX);
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn noise(width: u16, height: u16) -> Framebuffer {
        let mut picture = Framebuffer::new(width, height);
        let mut seed = 7_u32;
        for byte in &mut picture.pixels {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            *byte = (seed >> 24) as u8;
        }
        picture
    }

    #[test]
    fn even_nothing_but_noise_becomes_a_small_jpeg() {
        let jpeg = jpeg(&noise(1280, 800)).unwrap();
        assert!(jpeg.starts_with(&[0xff, 0xd8]), "no JPEG");
        assert!(jpeg.len() <= TARGET, "{} bytes", jpeg.len());
    }

    #[test]
    fn a_reduced_picture_keeps_its_shape_and_its_colours() {
        let mut picture = Framebuffer::new(1000, 700);
        picture.pixels.chunks_exact_mut(4).for_each(|pixel| pixel.copy_from_slice(&[10, 20, 30, 0]));
        let left_white = |(at, pixel): (usize, &mut [u8])| {
            if at % 1000 < 500 {
                pixel[..3].fill(255);
            }
        };
        picture.pixels.chunks_exact_mut(4).enumerate().for_each(left_white);
        let small = reduced(&picture, 320);
        assert_eq!((small.width, small.height), (320, 224));
        assert_eq!(small.pixels[..3], [255; 3]);
        assert_eq!(small.pixels[319 * 4..319 * 4 + 3], [10, 20, 30]);
        assert_eq!(reduced(&picture, 4_000), picture, "nothing is enlarged");
    }

    #[test]
    fn a_part_is_enlarged_by_a_whole_number() {
        let picture = noise(100, 80);
        let zoomed = enlarged(&picture, [10, 20, 30, 20]);
        assert_eq!((zoomed.width, zoomed.height), (90, 60));
        let pixel = |picture: &Framebuffer, x: usize, y: usize| {
            let at = (y * usize::from(picture.width) + x) * 4;
            picture.pixels[at..at + 4].to_vec()
        };
        assert_eq!(pixel(&zoomed, 0, 0), pixel(&picture, 10, 20));
        assert_eq!(pixel(&zoomed, 89, 59), pixel(&picture, 39, 39));
        assert_eq!(pixel(&zoomed, 47, 31), pixel(&picture, 10 + 15, 20 + 10));
        assert_eq!(enlarged(&picture, [0, 0, 100, 80]), picture);
    }
}
