// What xterm.js takes for a <style> element (build.mjs puts it in): an element
// of another kind, which is hidden, whose text goes into a style sheet that is
// made by script. A strict style-src allows that, and no <style>.

export function sheetElement(): HTMLElement {
  const e = document.createElement('div');
  const sheet = new CSSStyleSheet();
  let text = '';

  e.hidden = true;
  document.adoptedStyleSheets = [...document.adoptedStyleSheets, sheet];
  Object.defineProperty(e, 'textContent', {
    get: () => text,
    set: (value: string) => {
      text = value;
      sheet.replaceSync(value);
    },
  });
  e.remove = () => {
    document.adoptedStyleSheets = document.adoptedStyleSheets.filter((s) => s !== sheet);
    Element.prototype.remove.call(e);
  };
  return e;
}
