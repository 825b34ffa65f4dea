/** How Docker reads a boolean in a query: everything is true but these. */
export function queryBoolean(value: string | null | undefined): boolean {
  switch (value?.trim().toLowerCase()) {
    case undefined:
    case '':
    case '0':
    case 'no':
    case 'false':
    case 'none':
      return false;
    default:
      return true;
  }
}
