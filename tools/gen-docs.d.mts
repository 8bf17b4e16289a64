export const PAGES: Readonly<Record<string, () => string>>;
export function lifecyclePage(): string;
export function errorsPage(): string;
export function alertRulesPage(): string;
