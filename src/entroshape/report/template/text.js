// Text that cannot deceive, and ink that can be read on any background.
"use strict";
const { inkOn, escaped, visible } = (() => {
  const luminance = (text) => {
    const { r, g, b } = d3.rgb(text);
    const [x, y, z] = [r, g, b].map((v) => (v / 255 <= 0.04045 ? v / 255 / 12.92 : ((v / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const inkOn = (text) => ((luminance(text) + 0.05) ** 2 > 0.0525 ? "#000000" : "#ffffff");

  // Characters that are invisible or change the text direction are made visible; line ends and tabs stay as they are.
  const escaped = (text) => text
    .replace(/[\u0000-\u0008\u000b-\u001f]/g, (c) => String.fromCharCode(0x2400 + c.charCodeAt(0)))
    // Joiners shape emoji and scripts. By themselves they are invisible.
    .replace(/^[\u200c\u200d]+$|[\u007f-\u009f\u200b\u200e\u200f\u2028-\u202e\u2060-\u2069\ufeff]/g, (text) => [...text].map((c) => `\\u${c.charCodeAt(0).toString(16).padStart(4, "0")}`).join(""));
  // In a token, so are line ends, tabs, and spaces at its ends.
  const visible = (text) => text === "" ? "∅" : escaped(text
    .replace(/\r\n|\n/g, "⏎").replace(/\t/g, "⇥").replace(/^ +| +$/g, (spaces) => "·".repeat(spaces.length)));
  return { inkOn, escaped, visible };
})();
