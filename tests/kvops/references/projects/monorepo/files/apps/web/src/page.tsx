export const Page = ({ id }: { id: string }) => <a href={`/masters/${id}`}>master: {id}</a>;
